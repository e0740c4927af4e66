"""A portrait to talk with: the server and the gateway on this machine, and the page in a browser. Ctrl-C ends all.

Settings of the gateway are read from the environment and from flags, as by `sadtalker-gateway --help`.
"""

import argparse
import socket
import sys
import threading
import webbrowser
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from sadtalker_gateway.cli import main as sadtalker_gateway
from sadtalker_server import Server

ROOT = Path(__file__).resolve().parents[1]
PORT = 8080
SECONDS_BEFORE_OPENING = 1.5


def main() -> int:
    console = Console(stderr=True)
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--store", default=f"file://{ROOT / 'out' / 'gateway'}")
    known, others = parser.parse_known_args()
    try:
        socket.create_server(("127.0.0.1", known.port)).close()  # before the server's start, which takes a while
    except OSError as error:
        console.print(f"cannot listen on 127.0.0.1:{known.port}: {error.strerror}; choose another: --port N")
        return 2
    with ExitStack() as stack:
        with console.status("starting the server") as spinner:

            def loading(loaded: int, total: int) -> None:
                spinner.update(f"starting the server: {loaded} of {total} models ready")

            server = stack.enter_context(
                Server(ROOT / "model_repository", model_config_name="auto", on_progress=loading)
            )
        opener = threading.Timer(SECONDS_BEFORE_OPENING, webbrowser.open, [f"http://127.0.0.1:{known.port}"])
        opener.daemon = True
        opener.start()
        try:
            settings = ["--port", str(known.port), "--store", known.store, *others]
            return sadtalker_gateway(["--triton-url", server.grpc_url, *settings])
        except KeyboardInterrupt:
            return 0
        finally:
            opener.cancel()


if __name__ == "__main__":
    sys.exit(main())
