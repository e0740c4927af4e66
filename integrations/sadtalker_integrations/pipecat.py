"""A Pipecat video service: the voice of a pipeline's text-to-speech goes in, a talking face and that voice come out.

Put it behind the text-to-speech service and in front of the transport's output, which must have video switched on:

    pipeline = Pipeline([transport.input(), stt, llm, tts, SadTalkerVideoService("sadtalker:8001", "face.png"), transport.output()])
"""  # noqa: E501

import asyncio
import contextlib
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from sadtalker_client import (
    AnimationCancelledError,
    AsyncLiveSession,
    AsyncSadTalkerClient,
    InvalidInputError,
    SadTalkerError,
)

SOUND_RATE = 48_000  # Hz, of a live frame's sound
NANOSECONDS = 1_000_000_000


class SadTalkerVideoService(FrameProcessor):
    """Turns TTSAudioRawFrames into OutputImageRawFrames and the TTSAudioRawFrames that belong to them.

    While nothing is said the face idles; an InterruptionFrame closes its mouth. Errors become ErrorFrames.

    Args:
        url: of the server's gRPC port.
        portrait: a picture's bytes or path.
        options: those of `sadtalker_client.LiveOptions`, but for the format.
    """

    def __init__(self, url: str, portrait: str | bytes, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name=name)
        self._client = AsyncSadTalkerClient(url)
        self._portrait = portrait
        self._options = options
        self._session: AsyncLiveSession | None = None
        self._showing: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle the frames that concern the face; pass all others on."""
        await super().process_frame(frame, direction)
        try:
            if isinstance(frame, StartFrame):
                await self.push_frame(frame, direction)
                await self._begin()
                return
            if isinstance(frame, TTSAudioRawFrame) and self._session is not None:
                samples = np.frombuffer(frame.audio, np.int16).reshape(-1, frame.num_channels)
                await self._session.speak(samples.mean(axis=1).astype(np.int16), frame.sample_rate)
                return
            if isinstance(frame, TTSStoppedFrame) and self._session is not None:
                await self._session.flush()
            elif isinstance(frame, InterruptionFrame) and self._session is not None:
                await self._session.interrupt()
            elif isinstance(frame, EndFrame) and self._session is not None and self._showing is not None:
                with contextlib.suppress(AnimationCancelledError):  # it has ended by itself, and its error was told
                    await self._session.end()
                await self._showing
        except SadTalkerError as error:
            await self.push_frame(ErrorFrame(error=f"SadTalker: {error}"), FrameDirection.UPSTREAM)
        if isinstance(frame, EndFrame | CancelFrame):
            await self._close()
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Release everything, however the pipeline ends."""
        await super().cleanup()
        await self._close()

    async def _begin(self) -> None:
        session = self._client.live(self._portrait, **{**self._options, "format": "rgb24"})
        self._session = await session.__aenter__()
        self._showing = self.create_task(self._show(session))

    async def _show(self, session: AsyncLiveSession) -> None:
        while True:
            try:
                async for shown in session:
                    image = OutputImageRawFrame(shown.data, (shown.width, shown.height), "RGB")
                    image.pts = round(shown.time * NANOSECONDS)
                    await self.push_frame(image)
                    if shown.utterance is not None:
                        await self.push_frame(TTSAudioRawFrame(shown.sound, SOUND_RATE, 1))
                        if shown.ends:
                            await self.push_frame(TTSStoppedFrame())
                return
            except InvalidInputError as error:  # of one piece of speech, or of the portrait: then the session has ended
                await self.push_frame(ErrorFrame(error=f"SadTalker: {error}"), FrameDirection.UPSTREAM)
            except SadTalkerError as error:
                await self.push_frame(ErrorFrame(error=f"SadTalker: {error}"), FrameDirection.UPSTREAM)
                return

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if self._showing is not None and not self._showing.done():
            await self.cancel_task(self._showing)
        with contextlib.suppress(SadTalkerError):
            await session.__aexit__(None, None, None)
        await self._client.close()
