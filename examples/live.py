"""A conversation: `python examples/live.py [URL [FILE.mp4]]` speaks to the example portrait at a server that runs.

The example speech is sent in pieces of 20 ms, as a voice agent would; the frames go to a file as they come.
"""

import asyncio
import sys
import wave
from pathlib import Path

from sadtalker_client import AsyncLiveSession, AsyncSadTalkerClient

EXAMPLES = Path(__file__).parent
PIECE_SECONDS = 0.02


async def speak(session: AsyncLiveSession) -> None:
    with wave.open(str(EXAMPLES / "speech.wav")) as speech:
        rate = speech.getframerate()
        while piece := speech.readframes(round(PIECE_SECONDS * rate)):
            if len(piece) >= 0.01 * rate * 2:  # the shortest piece is 10 ms
                await session.speak(piece, rate)
            await asyncio.sleep(PIECE_SECONDS)
    await session.end()


async def main(url: str = "localhost:8001", output: str = "live.mp4") -> None:
    async with (
        AsyncSadTalkerClient(url) as client,
        client.live(EXAMPLES / "portrait.jpg", format="mp4") as session,
    ):
        speaking = asyncio.create_task(speak(session))
        with Path(output).open("wb") as file:
            async for frame in session:
                file.write(frame.data)
        await speaking


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
