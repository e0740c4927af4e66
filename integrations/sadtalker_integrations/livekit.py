"""A LiveKit Agents `VideoGenerator`: an agent's voice goes in, a talking face and that voice come out.

LiveKit's own AvatarRunner publishes what it gives; integrations/examples/livekit_avatar.py shows it.
"""

from collections.abc import AsyncIterator, Coroutine
from types import TracebackType
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, VideoGenerator
from sadtalker_client import AsyncSadTalkerClient, LiveOptions

SOUND_RATE = 48_000  # Hz, of a live frame's sound


class SadTalkerVideoGenerator(VideoGenerator):
    """A face that speaks; use it with `async with`.

    Args:
        client: connected to the server; it stays open.
        portrait: a picture's bytes or path.
        options: those of `sadtalker_client.LiveOptions`, but for the format.
    """

    def __init__(self, client: AsyncSadTalkerClient, portrait: str | bytes, **options: Any) -> None:
        asked: LiveOptions = {**options, "format": "rgb24"}  # type: ignore[typeddict-item]
        self._session = client.live(portrait, **asked)

    async def __aenter__(self) -> "SadTalkerVideoGenerator":
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.__aexit__(kind, error, trace)

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Say the next piece of speech, or end the utterance."""
        if isinstance(frame, AudioSegmentEnd):
            await self._session.flush()
            return
        samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
        await self._session.speak(samples.mean(axis=1).astype(np.int16), frame.sample_rate)

    def clear_buffer(self) -> Coroutine[None, None, None]:
        """Drop all speech that is not shown yet: the agent was interrupted."""
        return self._session.interrupt()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        async for shown in self._session:
            yield rtc.VideoFrame(shown.width, shown.height, rtc.VideoBufferType.RGB24, shown.data)
            if shown.utterance is not None:
                yield rtc.AudioFrame(shown.sound, SOUND_RATE, 1, len(shown.sound) // 2)
                if shown.ends:
                    yield AudioSegmentEnd()
