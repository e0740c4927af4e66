"""A portrait to talk with: the server and the gateway on this machine, and the page in a browser. Ctrl-C ends all.

Settings of the gateway are read from the environment and from flags, as by `sadtalker-gateway --help`.
"""

import sys
import threading
import webbrowser
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from sadtalker_gateway.cli import main as sadtalker_gateway
from sadtalker_server import Server

ROOT = Path(__file__).resolve().parents[1]
PORT = "8080"
SECONDS_BEFORE_OPENING = 1.5


def main() -> int:
    console = Console(stderr=True)
    arguments = sys.argv[1:]
    if "--port" not in arguments:
        arguments = ["--port", PORT, *arguments]
    if "--store" not in arguments:
        arguments = ["--store", f"file://{ROOT / 'out' / 'gateway'}", *arguments]
    with ExitStack() as stack:
        with console.status("starting the server") as spinner:

            def loading(loaded: int, total: int) -> None:
                spinner.update(f"starting the server: {loaded} of {total} models ready")

            server = stack.enter_context(Server(ROOT / "model_repository", on_progress=loading))
        port = arguments[arguments.index("--port") + 1]
        opener = threading.Timer(SECONDS_BEFORE_OPENING, webbrowser.open, [f"http://127.0.0.1:{port}"])
        opener.daemon = True
        opener.start()
        try:
            return sadtalker_gateway(["--triton-url", server.grpc_url, *arguments])
        except KeyboardInterrupt:
            return 0
        finally:
            opener.cancel()


if __name__ == "__main__":
    sys.exit(main())
