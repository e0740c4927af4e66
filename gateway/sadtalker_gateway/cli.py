"""The command `sadtalker-gateway`: serve the HTTP API and the page. Every setting is a flag; see `--help`."""

import argparse
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn
from pydantic import ValidationError

from .app import create_app, installed_version
from .settings import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; return 2 if a setting is wrong."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    known, rest = _config_parser().parse_known_args(arguments)
    if known.config:
        os.environ[CONFIG_VARIABLE] = known.config
    try:
        read: Callable[..., Settings] = Settings  # whose own signature hides that it reads flags
        settings = read(_cli_parse_args=rest)
        app = create_app(settings)
    except (ValidationError, ValueError, OSError) as error:
        print(f"sadtalker-gateway: {_plain(error)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            timeout_graceful_shutdown=settings.stop_seconds,
            server_header=False,
            log_level=settings.log_level,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=settings.proxies,
        )
    )
    try:
        listening = socket.create_server((settings.host, settings.port))
    except OSError as error:
        print(f"sadtalker-gateway: cannot listen on {settings.host}:{settings.port}: {error}", file=sys.stderr)
        return 2
    port = listening.getsockname()[1]
    print(f"sadtalker-gateway: http://{settings.host}:{port} (SadTalker server: {settings.triton_url})", flush=True)
    server.run(sockets=[listening])
    return 0


def _config_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sadtalker-gateway", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--version", action="version", version=f"%(prog)s {installed_version()}")
    return parser


def _plain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problems = []
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        problems.append(f"{name}: {problem['msg']}" if name else problem["msg"])
    return "; ".join(problems) + f" (flags, {ENVIRONMENT_PREFIX}* and the file of --config are read)"


if __name__ == "__main__":
    sys.exit(main())
