"""Answer errors as JSON, in one plain sentence.

{"error": {"message": "300 inputs, more than 256: send several requests", "type": "too_large"}}
"""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

KINDS = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "wrong_method",
    408: "too_slow",
    413: "too_large",
    422: "invalid",
    429: "overloaded",
    499: "gone",
    500: "internal",
    503: "closing",
    504: "timeout",
}
"""The `type` of an error, by its status. 499: the client closed the connection."""
SHOWN_CHARACTERS = 500
JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Refused(HTTPException):
    """A request that is not answered, with the status and the message that say why."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)


def reply(value: Any, status: int = 200, headers: Any = None) -> Response:
    """Make a response of a JSON value."""
    return Response(JSON.encode(value).encode(), status, headers, media_type="application/json")


def error_reply(status: int, message: str, headers: Any = None) -> Response:
    """Make the response of an error."""
    message = message.encode(errors="replace").decode()
    if len(message) > SHOWN_CHARACTERS:
        message = message[:SHOWN_CHARACTERS] + "…"
    kind = KINDS.get(status, "error")
    return reply({"error": {"message": message, "type": kind}}, status, headers)


def internal_error(error: Exception) -> Response:
    """Make the response of a fault in the server."""
    return error_reply(500, f"internal error ({type(error).__name__}): see the server's log")


def add_handlers(app: FastAPI) -> None:
    """Let an app answer each kind of error in this form."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        message = f"there is no {request.method} {request.url.path}: see /openapi.json"
        return error_reply(error.status_code, message, error.headers)

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        return internal_error(error)


def describe(errors: Sequence[Any]) -> str:
    """Describe the first error of pydantic: the field, and what it should be."""
    first = errors[0]
    kind, place = first["type"], first["loc"]
    alike = [error for error in errors if error["loc"][: len(place) - 1] == place[:-1]]
    is_one_of_forms = len(place) > 1 and len(alike) > 1
    if kind not in ("missing", "extra_forbidden") and is_one_of_forms:
        return f"{name_of(place[:-1])} has a form that is not among those of /openapi.json"
    if kind == "missing":
        return f"the field {name_of(place)} is missing"
    if kind == "extra_forbidden":
        return f"there is no field {name_of(place)}: see /openapi.json"
    return f"{name_of(place)}: {first['msg']}"


def name_of(place: Sequence[str | int]) -> str:
    """Return the name of a field, by its place in the body: inputs.0"""
    return ".".join(map(str, place))
