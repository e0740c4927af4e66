"""A video as the server streams it, made without networks: the example portrait, nodding, with a tone."""

from pathlib import Path

import numpy as np
from PIL import Image
from sadtalker_runtime.media.mp4 import FragmentedMp4

FRAME_RATE = 25
CHUNK = 5  # frames of a fragment
SOUND_RATE = 48_000
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


def portrait_video(seconds: float) -> list[bytes]:
    """Return the fragments of a video of 256 x 256 pixels; joined, they are the file."""
    face = np.asarray(Image.open(PORTRAIT).convert("RGB").resize((256, 256)))
    frames = round(seconds * FRAME_RATE)
    position = 0

    def read_sound(samples: int) -> np.ndarray:
        nonlocal position
        times = np.arange(position, position + samples) / SOUND_RATE
        position += samples
        return (0.1 * np.sin(2 * np.pi * 220 * times) * np.sin(6 * times) ** 2).astype(np.float32)[None]

    writer = FragmentedMp4(frames, 256, 256, 1, read_sound)
    try:
        return [
            writer.write(
                np.roll(face, round(6 * np.sin(at / 8)), axis=0) for at in range(first, min(first + CHUNK, frames))
            )
            for first in range(0, frames, CHUNK)
        ]
    finally:
        writer.close()
