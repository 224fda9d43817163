"""Read the body of a request: JSON of a declared form, and nothing beside it."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from plainformer.base import UserError, parse_json
from plainformer.deploy.server.errors import Refused

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


class StrictRequest(Request):
    """A request whose JSON is read with the bounds of `base.parse_json`."""

    async def json(self) -> Any:
        """Parse the body; raise `Refused` for anything but JSON."""
        try:
            return parse_json(await self.body(), "the body")
        except UserError as error:
            raise Refused(400, str(error)) from None


class StrictRoute(APIRoute):
    """A route that reads its body in this way."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


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
