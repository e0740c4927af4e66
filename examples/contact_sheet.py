"""Some frames of a video in rows, as one picture: `python examples/contact_sheet.py VIDEO PICTURE [FRAMES]`."""

import sys

import av
from PIL import Image

HEIGHT = 256  # of one frame in the picture
ROW = 8  # frames side by side


def contact_sheet(video: str, picture: str, frames: int = 2 * ROW) -> None:
    """Write `frames` frames, evenly spaced over the video, into one picture."""
    with av.open(video) as container:
        images = [frame.to_image() for frame in container.decode(video=0)]
    chosen = [images[round(i * (len(images) - 1) / max(1, frames - 1))] for i in range(frames)]
    width = round(HEIGHT * chosen[0].width / chosen[0].height)
    sheet = Image.new("RGB", (width * min(frames, ROW), HEIGHT * -(-frames // ROW)))
    for i, image in enumerate(chosen):
        sheet.paste(image.resize((width, HEIGHT)), (i % ROW * width, i // ROW * HEIGHT))
    sheet.save(picture)


if __name__ == "__main__":
    contact_sheet(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4]))
