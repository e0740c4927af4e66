"""Everything that can go wrong, as one tree.

SadTalkerError                  base of all below
├── InvalidInputError           portrait, speech or an option was refused; sending it again is of no use
├── ServerUnavailableError      no server there, not ready, or shutting down; try again later or elsewhere
│   └── QueueFullError          the server is busy and took the request off its hands at once
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
    """Base of every error that this package raises on purpose."""


class InvalidInputError(SadTalkerError):
    """The portrait, the speech or an option was refused; the message says what was expected and what came."""


class ServerUnavailableError(SadTalkerError):
    """Nothing answers at the address, or the server there is not ready or is shutting down."""


class QueueFullError(ServerUnavailableError):
    """The server has as many requests waiting as it accepts."""


class DeadlineExceededError(SadTalkerError):
    """The timeout passed before the animation was complete."""


class AnimationCancelledError(SadTalkerError):
    """The animation was cancelled before it was complete."""


class StalledError(SadTalkerError):
    """The application left so much of the video unread for so long that the server gave it up."""


class ServerError(SadTalkerError):
    """The server failed while working on the request."""


class ProtocolError(SadTalkerError):
    """The server's answer breaks the contract of the model `sadtalker`."""


# Triton refuses some requests before a model sees them, and names no status for these in a stream.
_UNAVAILABLE_TEXTS = (
    "Request timeout expired",
    "Request for unknown model",
    "Server is stopping",
    "Server not ready",
    "Stub process",
)
_ROUTE = re.compile(r"^(\[request id: [^]]*\] |in ensemble '[^']*', )+")  # what Triton puts before a model's words


def from_rpc(error: grpc.RpcError, url: str) -> SadTalkerError:
    """The exception for a call to `url` that gRPC itself reports as failed."""
    return _from_status(error.code(), error.details() or "no details", url)


def means_not_ready(error: grpc.RpcError) -> bool:
    """Whether a failed question for readiness is an answer to it."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def from_server_text(text: str, url: str) -> SadTalkerError:
    """The exception for an error message inside a stream.

    Triton delivers a failed request of a decoupled model as a bare sentence. (Its header `triton_grpc_error` asks
    for a status instead, but a server of version 2.51 crashes when such a stream is also cancelled.) Calls between
    models lose the status, too. So the model that finds fault with its input begins the sentence with the status,
    as in "INVALID_ARGUMENT: the portrait shows no face".
    """
    text = _ROUTE.sub("", text)
    name, colon, sentence = text.partition(": ")
    if colon and name in grpc.StatusCode.__members__:
        return _from_status(grpc.StatusCode[name], sentence, url)
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
