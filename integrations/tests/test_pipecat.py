"""The video service in a real Pipecat pipeline, without network."""

import asyncio

import numpy as np
import pytest

pytest.importorskip("pipecat", reason="pipecat-ai is in an environment of its own: make test-integrations")

from live_server import serving
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InterruptionFrame,
    OutputImageRawFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameProcessor
from sadtalker_integrations.pipecat import SadTalkerVideoService


class Notes(FrameProcessor):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list = []

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        await self.push_frame(frame, direction)


def talk(url: str, frames: list, portrait: bytes = b"a face") -> tuple[list, list]:
    """Return what comes out behind the service and, upstream, before it."""
    before, behind = Notes(), Notes()

    async def main() -> None:
        service = SadTalkerVideoService(url, portrait, pace="fast")
        task = PipelineTask(Pipeline([before, service, behind]), cancel_on_idle_timeout=False)
        for frame in frames:
            await task.queue_frame(frame)
            await asyncio.sleep(0.05)
        await asyncio.wait_for(PipelineRunner(handle_sigint=False).run(task), 30)

    asyncio.run(main())
    return behind.frames, before.frames


def speech(seconds: float, rate: int = 24_000, channels: int = 1) -> TTSAudioRawFrame:
    return TTSAudioRawFrame(np.zeros(round(seconds * rate) * channels, np.int16).tobytes(), rate, channels)


def test_speech_becomes_pictures_with_their_sound() -> None:
    with serving() as (url, server):
        said = [speech(0.2), TextFrame("hello"), speech(0.2, channels=2), TTSStoppedFrame(), EndFrame()]
        shown, _ = talk(url, said)
    images = [frame for frame in shown if isinstance(frame, OutputImageRawFrame)]
    sounds = [frame for frame in shown if isinstance(frame, TTSAudioRawFrame)]
    assert [image.image[0] for image in images] == list(range(10))
    assert [image.pts for image in images] == [frame * 40_000_000 for frame in range(10)]
    assert {(image.size, image.format) for image in images} == {((8, 8), "RGB")}
    assert {(sound.sample_rate, sound.num_channels, len(sound.audio)) for sound in sounds} == {(48_000, 1, 3840)}
    assert len(sounds) == 10
    assert any(isinstance(frame, TextFrame) for frame in shown)
    assert isinstance(shown[-1], EndFrame)  # after all of it was shown
    assert server.rates == [24_000, 24_000]
    assert server.controls == ["flush", "end"]


def test_an_interruption_reaches_the_server() -> None:
    with serving() as (url, server):
        shown, _ = talk(url, [speech(0.4), InterruptionFrame(), speech(0.2), TTSStoppedFrame(), EndFrame()])
    assert "interrupt" in server.controls
    assert server.controls[-1] == "end"
    assert any(isinstance(frame, InterruptionFrame) for frame in shown)


def test_an_error_becomes_an_error_frame_and_the_pipeline_ends() -> None:
    with serving() as (url, _):
        shown, before = talk(url, [speech(0.4), EndFrame()], portrait=b"no face")
    errors = [frame.error for frame in before if isinstance(frame, ErrorFrame)]
    assert any("expected a face, got none" in error for error in errors)
    assert any(isinstance(frame, EndFrame) for frame in shown)
