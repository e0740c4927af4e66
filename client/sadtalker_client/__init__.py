"""Talking-head videos from a SadTalker server: one portrait and one speech recording in, a streamed MP4 out.

    from sadtalker_client import InvalidInputError, SadTalkerClient, ServerUnavailableError

    with SadTalkerClient("127.0.0.1:8001", timeout=600) as client:
        client.wait_until_ready(timeout=60)
        try:
            for fragment in client.animate("portrait.png", "speech.wav", pose_style=3, seed=7):
                send_to_browser(fragment.data)  # a page with Media Source Extensions plays it at once
                print(f"{fragment.frames_done} of {fragment.frames_total} frames")
        except InvalidInputError as error:  # tell the user: "the portrait shows no face"
            ...
        except ServerUnavailableError:  # includes QueueFullError: try again later
            ...

`client.animate(...).save("out.mp4")` writes a file that exists only when it is complete, `.read()` returns the bytes,
and leaving an animation early (`break`, `with`, `.cancel()`) stops the work on the server. A client may be shared by
threads and carries any number of animations at once.

Every request has an id, random or `animate(..., request_id=...)`: it is `animation.request_id` and, after a failure,
`error.request_id`, and it names the request in the server's log and traces.

Without speech, `client.animate("portrait.png", driving="face.mp4")` moves as the face in a video does, and
`client.animate("portrait.png", idle=8)` makes a seamless loop, for the time in which nothing is said.
`client.poster("portrait.png")` is the first frame of that loop, to show before the video is there.

In asyncio the same with `await`; cancelling the task stops the work on the server:

    async with AsyncSadTalkerClient("dns:///sadtalker:8001", tls=True, metadata={"authorization": token}) as client:
        await client.animate(portrait_bytes, speech_bytes, still=True).save("out.mp4")

A conversation streams in both directions: speech as it is spoken, frames as they are due (see `AsyncLiveSession`):

    async with client.live("portrait.png") as session:
        await session.speak(pcm, 24_000)
        async for frame in session:
            show(frame.data, frame.sound)

Options are those of `Options`; the server's defaults apply to those left out. All errors derive from `SadTalkerError`.
Files beyond `UploadLimits` are refused before they are sent.
"""

from ._async_client import AsyncAnimation, AsyncSadTalkerClient
from ._channel import TLS
from ._client import Animation, SadTalkerClient
from ._coefficients import COEFFICIENTS
from ._exceptions import (
    AnimationCancelledError,
    DeadlineExceededError,
    InvalidInputError,
    ProtocolError,
    QueueFullError,
    SadTalkerError,
    ServerError,
    ServerUnavailableError,
    StalledError,
)
from ._files import UploadLimits
from ._live import AsyncLiveSession, LiveSession
from ._live_wire import Latency, LiveFrame, LiveOptions
from ._options import KeyFrames, Options
from ._wire import Fragment

__all__ = [
    "COEFFICIENTS",
    "TLS",
    "Animation",
    "AnimationCancelledError",
    "AsyncAnimation",
    "AsyncLiveSession",
    "AsyncSadTalkerClient",
    "DeadlineExceededError",
    "Fragment",
    "InvalidInputError",
    "KeyFrames",
    "Latency",
    "LiveFrame",
    "LiveOptions",
    "LiveSession",
    "Options",
    "ProtocolError",
    "QueueFullError",
    "SadTalkerClient",
    "SadTalkerError",
    "ServerError",
    "ServerUnavailableError",
    "StalledError",
    "UploadLimits",
]
