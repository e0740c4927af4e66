"""The video generator behind LiveKit's interface and its own queue."""

import asyncio

import numpy as np
import pytest

pytest.importorskip("livekit.agents", reason="livekit-agents is in an environment of its own: make test-integrations")

from live_server import serving
from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, QueueAudioOutput, VideoGenerator
from sadtalker_client import AsyncSadTalkerClient
from sadtalker_integrations.livekit import SadTalkerVideoGenerator


def test_an_agent_s_voice_becomes_frames() -> None:
    """As LiveKit's AvatarRunner does it: what its queue receives is pushed, what the generator gives is taken."""

    async def main() -> list:
        with serving() as (url, server):
            voice = QueueAudioOutput(sample_rate=24_000)
            await voice.start()
            async with AsyncSadTalkerClient(url) as client, SadTalkerVideoGenerator(client, b"face") as face:
                assert isinstance(face, VideoGenerator)
                for channels in (1, 1):
                    data = np.zeros(2400 * channels, np.int16).tobytes()
                    await voice.capture_frame(rtc.AudioFrame(data, 24_000, channels, 2400))
                voice.flush()

                async def push() -> None:
                    async for said in voice:
                        await face.push_audio(said)
                        if isinstance(said, AudioSegmentEnd):
                            return

                await asyncio.wait_for(push(), 20)
                shown = []
                async for frame in face:
                    shown.append(frame)
                    if isinstance(frame, AudioSegmentEnd):
                        break
                await face.push_audio(rtc.AudioFrame(np.zeros(9600, np.int16).tobytes(), 48_000, 2, 4800))
                await face.clear_buffer()
                while "interrupt" not in server.controls:
                    await asyncio.sleep(0.01)
            assert server.rates == [24_000, 24_000, 48_000]
            return shown

    shown = asyncio.run(main())
    pictures = [frame for frame in shown if isinstance(frame, rtc.VideoFrame)]
    sounds = [frame for frame in shown if isinstance(frame, rtc.AudioFrame)]
    assert len(pictures) == len(sounds) == 5
    assert {(frame.width, frame.height, frame.type) for frame in pictures} == {(8, 8, rtc.VideoBufferType.RGB24)}
    assert {(s.sample_rate, s.num_channels, s.samples_per_channel) for s in sounds} == {(48_000, 1, 1920)}
    assert isinstance(shown[-1], AudioSegmentEnd)
