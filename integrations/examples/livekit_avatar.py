"""An avatar worker for LiveKit Agents: receives an agent's voice from its room and publishes the face that speaks.

The agent sends its voice to this participant (`DataStreamAudioOutput`), as LiveKit's documents on avatars describe.

Usage: python integrations/examples/livekit_avatar.py WS_URL TOKEN localhost:8001 examples/portrait.jpg
"""

import asyncio
import sys

from livekit import rtc
from livekit.agents.voice.avatar import AvatarOptions, AvatarRunner, DataStreamAudioReceiver
from sadtalker_client import AsyncSadTalkerClient
from sadtalker_integrations.livekit import SOUND_RATE, SadTalkerVideoGenerator


async def main(livekit_url: str, token: str, sadtalker_url: str, portrait: str) -> None:
    room = rtc.Room()
    async with (
        AsyncSadTalkerClient(sadtalker_url) as client,
        SadTalkerVideoGenerator(client, portrait) as face,
    ):
        await room.connect(livekit_url, token)
        runner = AvatarRunner(
            room,
            audio_recv=DataStreamAudioReceiver(room),
            video_gen=face,
            options=AvatarOptions(256, 256, 25, SOUND_RATE, 1),
        )
        await runner.start()
        try:
            await runner.wait_for_complete()
        finally:
            await runner.aclose()
            await room.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
