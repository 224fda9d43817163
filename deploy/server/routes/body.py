"""Read the body of a request: JSON of a declared form, and nothing beside it."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from inspect import signature
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from plainformer.base import UserError, parse_json
from plainformer.deploy.server.errors import Refused, describe, error_reply

NO_OBJECT = "the body must be a JSON object, sent with Content-Type: application/json"
Texts = str | Annotated[list[str], Field(min_length=1)]
"""A text, or several."""


class Body(BaseModel):
    """The body of a request. A field that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OfModel(Body):
    """The body of a request to one of the models."""

    model: str | None = Field(
        None, description="Name of the model. By default the first that can answer."
    )


class StrictRoute(APIRoute):
    """A route whose body is read with the bounds of `base.parse_json`, and checked by its form.

    FastAPI describes the route, and finds it where the application is mounted in another one. Its
    layers cost as much as the rest of a short request, so `Guard` calls `answer` by itself.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request in FastAPI's layers."""

        async def handle(request: Request) -> Response:
            return await self.answer(request.headers, await request.body())

        return handle

    async def answer(self, headers: Headers, body: bytes) -> Response:
        """Answer a request; return the error, in the form of all errors, of one that is refused."""
        try:
            response: Response = await self.endpoint(self._read(headers, body))
            return response
        except HTTPException as error:
            return error_reply(error.status_code, error.detail, error.headers)
        except UserError as error:
            return error_reply(422, str(error))

    @cached_property
    def _form(self) -> type[Body]:
        return form_of(self.endpoint)

    def _read(self, headers: Headers, body: bytes) -> Body:
        """Read a body; raise `Refused` for one that is not of the form."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or not body:
            raise Refused(422, NO_OBJECT)
        try:
            given = parse_json(body, "the body")
        except UserError as error:
            raise Refused(400, str(error)) from None
        if not isinstance(given, dict):
            raise Refused(422, NO_OBJECT)
        try:
            return self._form.model_validate(given)
        except ValidationError as error:
            raise Refused(422, describe(error.errors())) from None


def form_of(endpoint: Callable[..., Any]) -> type[Body]:
    """Return the class of the body of a route, which is its only argument."""
    (argument,) = signature(endpoint).parameters.values()
    form: type[Body] = argument.annotation
    return form


class Error(BaseModel):
    """The message and the kind of an error."""

    message: str
    type: str


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: Error


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The body is not JSON.",
        401: "The token is missing or wrong.",
        404: "There is no such model.",
        408: "The body did not arrive in time.",
        413: "The body is too long, or has too many texts or tokens.",
        422: "A field is missing or wrong, or a text cannot be read.",
        429: "Too many texts wait.",
        500: "The model failed.",
        503: "The server is shutting down.",
        504: "The answer took too long.",
    }.items()
}


def strict_router() -> APIRouter:
    """Make a router of such routes."""
    return APIRouter(route_class=StrictRoute, responses=ERRORS)
