"""The whole way once: start the server, animate the example portrait with the example speech, stop the server.

Leaves out/demo.mp4, and some of its frames side by side in out/demo.png.
"""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from contact_sheet import contact_sheet
from rich.console import Console
from sadtalker_server import Server

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
OUTPUT = ROOT / "out" / "demo.mp4"


def main() -> int:
    console = Console(stderr=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        with console.status("starting the server") as spinner:

            def loading(loaded: int, total: int) -> None:
                spinner.update(f"starting the server: {loaded} of {total} models ready")

            server = stack.enter_context(
                Server(ROOT / "model_repository", model_config_name="auto", on_progress=loading)
            )
        console.print(f"serving in {server.model_config_name or 'fp32'}")
        sadtalker = Path(sys.executable).with_name("sadtalker")
        command = [sadtalker, "animate", EXAMPLES / "portrait.jpg", EXAMPLES / "speech.wav", "-o", OUTPUT]
        status = subprocess.run([*command, "--url", server.grpc_url]).returncode
    if status == 0:
        contact_sheet(str(OUTPUT), str(OUTPUT.with_suffix(".png")))
    return status


if __name__ == "__main__":
    sys.exit(main())
