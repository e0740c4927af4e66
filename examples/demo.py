"""The whole way once: start the server, animate the example portrait with the example speech, stop the server.

Leaves out/demo.mp4, and some of its frames side by side in out/demo.png.
"""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
from PIL import Image
from rich.console import Console
from sadtalker_server import Server

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
OUTPUT = ROOT / "out" / "demo.mp4"
SHOWN = 8  # frames of the sheet


def main() -> int:
    console = Console(stderr=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        with console.status("starting the server") as spinner:

            def loading(loaded: int, total: int) -> None:
                spinner.update(f"starting the server: {loaded} of {total} models ready")

            server = stack.enter_context(Server(ROOT / "model_repository", on_progress=loading))
        sadtalker = Path(sys.executable).with_name("sadtalker")
        command = [sadtalker, "animate", EXAMPLES / "portrait.jpg", EXAMPLES / "speech.wav", "-o", OUTPUT]
        status = subprocess.run([*command, "--url", server.grpc_url]).returncode
    if status == 0:
        write_sheet()
    return status


def write_sheet() -> None:
    """Frames from all over the video, in a row."""
    with av.open(str(OUTPUT)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    Image.fromarray(np.hstack([frames[i] for i in chosen])).save(OUTPUT.with_suffix(".png"))


if __name__ == "__main__":
    sys.exit(main())
