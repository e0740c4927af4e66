"""Errors as HTTP: the shape of OpenAI's API, with the server's own reason in plain words.

{"error": {"message": "...", "type": "invalid_request_error", "param": null, "code": "invalid_input"}}
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from obstore.exceptions import BaseError
from pydantic import BaseModel, Field
from sadtalker_client import (
    AnimationCancelledError,
    DeadlineExceededError,
    InvalidInputError,
    QueueFullError,
    SadTalkerError,
    ServerUnavailableError,
)
from starlette.exceptions import HTTPException

from .fmp4 import Fmp4Error
from .speech import SpeechError

log = logging.getLogger(__name__)

RETRY_SECONDS = 5  # said with 503


class Failure(BaseModel):
    """Why a video failed."""

    code: str = Field(
        description="invalid_input, server_busy, server_unavailable, timeout, cancelled, interrupted, "
        "speech_failed, chat_failed or server_error"
    )
    message: str = Field(description="in plain words")


class FailureDetail(Failure):
    """An error in an answer's body."""

    type: str
    param: str | None = None


class ErrorBody(BaseModel):
    """An error answer."""

    error: FailureDetail


class ChatError(Exception):
    """The chat endpoint gave no reply."""


class ApiError(Exception):
    """An error with an HTTP status; `retry_after` in seconds."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.retry_after = status, code, message, param, retry_after

    def response(self) -> JSONResponse:
        """Return it as an answer."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        detail = FailureDetail(code=self.code, message=self.message, type=kind, param=self.param)
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(ErrorBody(error=detail).model_dump(), self.status, headers)


def not_found(what: str) -> ApiError:
    """Return the error for something that is not there, or not this caller's."""
    return ApiError(404, "not_found", f"{what} not found")


def from_failure(error: BaseException) -> ApiError:
    """Return the error for a caller whose request failed; an unexpected one is logged."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InvalidInputError):
        return ApiError(400, "invalid_input", str(error))
    if isinstance(error, SpeechError):
        return (
            ApiError(400, "invalid_input", str(error)) if error.caller else ApiError(502, "speech_failed", str(error))
        )
    if isinstance(error, ChatError):
        return ApiError(502, "chat_failed", str(error))
    if isinstance(error, QueueFullError):
        return ApiError(503, "server_busy", "all places are taken; try again in a moment", retry_after=RETRY_SECONDS)
    if isinstance(error, ServerUnavailableError):
        message = "the animation server is not available; try again in a moment"
        return ApiError(503, "server_unavailable", message, retry_after=RETRY_SECONDS)
    if isinstance(error, DeadlineExceededError):
        return ApiError(504, "timeout", "the animation took longer than allowed")
    if isinstance(error, AnimationCancelledError):
        return ApiError(409, "cancelled", "the video was cancelled")
    if isinstance(error, BaseError):
        log.error("the store failed: %s", error)
        return ApiError(503, "store_unavailable", "the store does not answer", retry_after=RETRY_SECONDS)
    if isinstance(error, SadTalkerError | Fmp4Error):
        log.error("the animation server failed: %s", error)
        return ApiError(502, "server_error", "the animation server failed")
    log.error("unexpected failure", exc_info=error)
    return ApiError(500, "server_error", "the gateway failed; its log says why")


def failure_of(error: BaseException) -> Failure:
    """Return the error as `from_failure` does, for the state of a video."""
    failure = from_failure(error)
    return Failure(code=failure.code, message=failure.message)


def add_handlers(app: FastAPI) -> None:
    """Answer every error of the application in the shape above."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        return from_failure(error).response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = dict(error.errors()[0])
        place = ".".join(str(part) for part in first["loc"][1:])
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        return ApiError(422, "invalid_input", message, param=place or None).response()

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        answer = ApiError(error.status_code, "http_error", str(error.detail)).response()
        answer.headers.update(error.headers or {})
        return answer

    for kind in (ApiError, SadTalkerError, SpeechError, ChatError, Fmp4Error, BaseError, Exception):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
