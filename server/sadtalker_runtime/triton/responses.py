"""Error responses of the TritonPythonModels."""

from typing import Any

import triton_python_backend_utils as pb_utils

from sadtalker_runtime.errors import REFUSED, CallError, InputError, excerpt


def error_response(model: str, error: Exception) -> Any:
    """Build the response that reports `error`: refused input as INVALID_ARGUMENT, all else as INTERNAL, logged."""
    if isinstance(error, InputError):
        return failure(f"{REFUSED}{error}", "INVALID_ARG")
    if isinstance(error, CallError):
        code = "INVALID_ARG" if error.refused else "UNAVAILABLE" if error.unavailable else "INTERNAL"
        return failure(str(error), code)
    pb_utils.Logger.log_error(f"{model}: {error!r}")
    return failure(f"{model} failed: {excerpt(repr(error))}", "INTERNAL")


def failure(message: str, code: str) -> Any:
    """Build an error response; `code` is a name of pb_utils.TritonError."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, getattr(pb_utils.TritonError, code)))
