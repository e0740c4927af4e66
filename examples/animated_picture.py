"""A video as an animated picture for a page: `python examples/animated_picture.py VIDEO PICTURE.webp`."""

import sys

import av
from PIL import Image

SIDE = 256  # pixels
EVERY = 2  # of the video's frames one is shown
MILLISECONDS = 40 * EVERY


def animated_picture(video: str, picture: str) -> None:
    """Write every second frame of `video` as a looping WebP."""
    with av.open(video) as container:
        frames = [
            frame.to_image().resize((SIDE, SIDE), Image.Resampling.LANCZOS) for frame in container.decode(video=0)
        ]
    first, *others = frames[::EVERY]
    first.save(picture, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, quality=60, method=6)


if __name__ == "__main__":
    animated_picture(sys.argv[1], sys.argv[2])
