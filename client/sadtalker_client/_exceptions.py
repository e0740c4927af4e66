"""All exceptions of this package, as one tree.

SadTalkerError                  base of all below
├── InvalidInputError           portrait, speech or an option was refused; sending it again does not help
├── ServerUnavailableError      no server there, not ready, or shutting down; try again later or elsewhere
│   └── QueueFullError          the server has too many requests waiting and refused this one at once
├── DeadlineExceededError       the timeout passed before the last fragment came
├── AnimationCancelledError     cancelled, by this side or by something between it and the server
├── StalledError                the video was not read, and the server gave it up
├── ServerError                 the server failed while working on a good request
└── ProtocolError               the answer is not one that the model `sadtalker` gives

`from_rpc` and `from_server_text` are the only places where gRPC's and Triton's errors become these.
"""

import re

import grpc


class SadTalkerError(Exception):
    """Base of every error that this package raises on purpose.

    `request_id` is the failed request's in the server's log and traces, None where none was sent.
    """

    request_id: str | None = None


class InvalidInputError(SadTalkerError):
    """Refusal of the portrait, the speech or an option; the message says what was expected and what was given."""


class ServerUnavailableError(SadTalkerError):
    """No answer at the address, or from a server that is not ready or shutting down."""


class QueueFullError(ServerUnavailableError):
    """Refusal by a server that has as many requests waiting as it accepts."""


class DeadlineExceededError(SadTalkerError):
    """End of the timeout before the animation was complete."""


class AnimationCancelledError(SadTalkerError):
    """Cancellation of the animation before it was complete."""


class StalledError(SadTalkerError):
    """The application left so much of the video unread for so long that the server gave it up."""


class ServerError(SadTalkerError):
    """Failure of the server while working on the request."""


class ProtocolError(SadTalkerError):
    """Answer that breaks the contract of the model `sadtalker`."""


# Triton refuses some requests before a model sees them, and names no status for these in a stream.
_UNAVAILABLE_TEXTS = (
    "Request timeout expired",
    "Request for unknown model",
    "Server is stopping",
    "Server not ready",
    "Stub process",
)
# gRPC for asyncio says this of its own when a stream ends during a write, and forgets the status that the server sent.
_CUT_WHILE_WRITING = "Internal error from Core"
_ROUTE = re.compile(r"^(\[request id: [^]]*\] |in ensemble '[^']*', )+")  # what Triton puts before a model's message


def from_rpc(error: grpc.RpcError, url: str, request_id: str | None = None) -> SadTalkerError:
    """Return the exception for a call to `url` that gRPC itself reports as failed."""
    code, details = error.code(), error.details() or "no details"
    if code is grpc.StatusCode.INTERNAL and details == _CUT_WHILE_WRITING:
        code, details = grpc.StatusCode.UNAVAILABLE, "the connection ended while a request was on its way"
    failure = _from_status(code, details, url)
    failure.request_id = request_id
    return failure


def means_not_ready(error: grpc.RpcError) -> bool:
    """Return whether the failure of a readiness check means that the server is not ready."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def from_server_text(text: str, url: str) -> SadTalkerError:
    """Return the exception for an error message inside a stream.

    Triton delivers a failed request of a decoupled model as a bare sentence. (Its header `triton_grpc_error` asks
    for a status instead, but Triton 2.51 crashes when such a stream is also cancelled.) Calls between models lose the
    status, too. So a model that refuses its input begins the sentence with the status, as in
    "INVALID_ARGUMENT: the portrait shows no face".
    """
    text = _ROUTE.sub("", text)
    name, colon, sentence = text.partition(": ")
    if colon and name in grpc.StatusCode.__members__:
        return _from_status(grpc.StatusCode[name], sentence, url)
    if "shared memory pool" in text:
        return _from_status(grpc.StatusCode.UNAVAILABLE, "its shared memory is full", url)
    if "Exceeds maximum queue size" in text or text.startswith(_UNAVAILABLE_TEXTS):
        return _from_status(grpc.StatusCode.UNAVAILABLE, text, url)
    return _from_status(grpc.StatusCode.INTERNAL, text, url)


def _from_status(code: grpc.StatusCode, text: str, url: str) -> SadTalkerError:
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidInputError(text)
    if "Exceeds maximum queue size" in text:
        return QueueFullError(f"the queue of {url} is full: {text}")
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerUnavailableError(f"{url} is unavailable: {text}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"the timeout passed before {url} had answered in full")
    if code is grpc.StatusCode.CANCELLED:
        return AnimationCancelledError(f"the animation was cancelled: {text}")
    if code is grpc.StatusCode.ABORTED:
        return StalledError(f"{url} gave up: {text}")
    return ServerError(f"{url} failed ({code.name}): {text}")
