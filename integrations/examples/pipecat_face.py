"""A recording spoken through a Pipecat pipeline, without network or keys: counts the pictures and the sound that come.

Usage: python integrations/examples/pipecat_face.py localhost:8001 examples/portrait.jpg examples/speech.wav
"""

import asyncio
import sys
import wave

from pipecat.frames.frames import EndFrame, Frame, OutputImageRawFrame, TTSAudioRawFrame, TTSStoppedFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from sadtalker_integrations.pipecat import SadTalkerVideoService


class Counter(FrameProcessor):
    """Stands in for a transport."""

    pictures = sound = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.pictures += isinstance(frame, OutputImageRawFrame)
        self.sound += len(frame.audio) if isinstance(frame, TTSAudioRawFrame) else 0
        await self.push_frame(frame, direction)


async def main(url: str, portrait: str, recording: str) -> None:
    with wave.open(recording) as file:
        speech = TTSAudioRawFrame(file.readframes(file.getnframes()), file.getframerate(), file.getnchannels())
    counter = Counter()
    task = PipelineTask(Pipeline([SadTalkerVideoService(url, portrait), counter]))
    await task.queue_frames([speech, TTSStoppedFrame(), EndFrame()])
    await PipelineRunner(handle_sigint=False).run(task)
    print(f"{counter.pictures} pictures, {counter.sound / 96_000:.1f} s of sound")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
