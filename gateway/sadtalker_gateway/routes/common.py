"""Dependencies that routes share: the gateway, whose request it is, and names that callers give."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from ..errors import ApiError, ErrorBody
from ..gateway import Gateway

_bearer = HTTPBearer(auto_error=False, description="an API key, where the gateway has any")  # for the documentation

VideoId = Annotated[str, Path(pattern="^video_[0-9a-f]{32}$", description="id of a video")]
PortraitId = Annotated[str, Path(pattern="^portrait_[0-9a-f]{32}$", description="id of a portrait")]

DESCRIBED = {
    400: "Refused, with the server's own reason",
    401: "No valid API key",
    403: "A page of another site",
    404: "Not found",
    408: "The body took too long",
    409: "Cancelled meanwhile",
    413: "The body is too large",
    422: "A field is not what it should be",
    429: "Too many; Retry-After says when",
    502: "A server behind the gateway failed",
    503: "Busy or not available; Retry-After says when",
    504: "It took too long",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of error answers, those included that every route can give."""
    wanted = sorted({401, 422, *statuses})
    return {status: {"model": ErrorBody, "description": DESCRIBED[status]} for status in wanted}


CREATION_ERRORS = (400, 403, 404, 408, 413, 429, 502, 503, 504)


def get_gateway(request: Request) -> Gateway:
    """Return the application's gateway."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def get_owner(request: Request, _: Annotated[Any, Depends(_bearer)]) -> str:
    """Return whose request it is, as the gatekeeper found."""
    owner: str = request.scope["owner"]
    return owner


GatewayDependency = Annotated[Gateway, Depends(get_gateway)]
Owner = Annotated[str, Depends(get_owner)]


def within(text: str | None, most: int, name: str = "prompt") -> str | None:
    """Return a text; raise ApiError if it is longer than allowed."""
    if text is not None and len(text) > most:
        raise ApiError(400, "invalid_input", f"{name}: expected at most {most} characters, got {len(text)}", param=name)
    return text
