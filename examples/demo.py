"""The whole way once: start the server, animate the example portrait with the example speech, stop the server."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from sadtalker_server import Server

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
OUTPUT = ROOT / "out" / "demo.mp4"


def main() -> int:
    console = Console(stderr=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        with console.status("starting the server") as status:

            def loading(loaded: int, total: int) -> None:
                status.update(f"starting the server: {loaded} of {total} models ready")

            server = stack.enter_context(Server(ROOT / "model_repository", on_progress=loading))
        sadtalker = Path(sys.executable).with_name("sadtalker")
        command = [sadtalker, "animate", EXAMPLES / "portrait.jpg", EXAMPLES / "speech.wav", "-o", OUTPUT]
        return subprocess.run([*command, "--url", server.grpc_url]).returncode


if __name__ == "__main__":
    sys.exit(main())
