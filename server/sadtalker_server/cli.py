"""The command `sadtalker-server`: serves a model repository until Ctrl-C or SIGTERM."""

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sadtalker_runtime.version import VERSION

from sadtalker_server import Server, ServerError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 after a stop in which every request was answered, else 1."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    # A container stops with SIGTERM, a terminal with Ctrl-C: both leave the server's context, which drains it. A
    # second one interrupts the draining and kills.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)

    console = Console(stderr=True)
    log_file = options.log_file or (None if console.is_terminal else "stderr")
    columns = (SpinnerColumn(), TextColumn("loading models"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=log_file == "stderr")
    bar = progress.add_task("models", total=None)
    server = Server(
        options.model_repository,
        host=options.host,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        metrics_port=options.metrics_port,
        tritonserver=options.tritonserver,
        model_config_name=options.model_config_name,
        exit_timeout_secs=options.exit_timeout_secs,
        start_timeout_secs=options.start_timeout_secs,
        log_file=log_file,
        log_verbose=options.log_verbose,
        extra_arguments=options.tritonserver_arguments,
        on_progress=lambda loaded, models: progress.update(bar, completed=loaded, total=models),
    )
    try:
        with ExitStack() as running:
            with progress:
                running.enter_context(server)
            print(_ready(server), flush=True)
            server.wait()
    except KeyboardInterrupt:
        return 0 if server.stopped_cleanly else 1
    except ServerError as error:
        console.print(f"sadtalker-server: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


def _ready(server: Server) -> str:
    preset = f", {server.repository.preset} preset" if server.repository.preset else ""
    missing = ", ".join(server.repository.not_installed)
    missing = f"; not installed: {missing}" if missing else ""
    return "\n".join(
        [
            f"ready: {len(server.repository.models)} models{preset}{missing}",
            f"  gRPC     {server.grpc_url}",
            f"  HTTP     {server.http_url}",
            f"  metrics  {server.metrics_url}",
            f"  log      {server.log_path or 'standard error'}",
            "Ctrl-C stops it.",
        ]
    )


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    own, extra = list(argv), []
    if "--" in own:
        end = own.index("--")
        own, extra = own[:end], own[end + 1 :]
    parser = argparse.ArgumentParser(
        prog="sadtalker-server",
        usage="%(prog)s [options] [-- tritonserver options]",
        description="Serves a model repository with the real tritonserver until Ctrl-C or SIGTERM.",
        allow_abbrev=False,
        epilog="What follows -- goes to tritonserver as it is, and wins; for instance: -- --grpc-use-ssl=true",
    )
    parser.set_defaults(tritonserver_arguments=extra)
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {VERSION}")
    add(
        "--model-repository", type=Path, default="model_repository", metavar="DIR", help="models to serve (%(default)s)"
    )
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--http-port", type=int, default=8000, metavar="PORT", help="%(default)s; 0 takes a free one")
    add("--grpc-port", type=int, default=8001, metavar="PORT", help="%(default)s; 0 takes a free one")
    add("--metrics-port", type=int, default=8002, metavar="PORT", help="%(default)s; 0 takes a free one")
    add("--model-config-name", metavar="NAME", help="use configs/NAME.pbtxt of the models that have it")
    add("--tritonserver", default="auto", metavar="WHICH", help="auto (from PATH, else embedded), embedded, or a path")
    add("--exit-timeout-secs", type=int, default=30, metavar="S", help="let requests in flight finish (%(default)s)")
    add("--start-timeout-secs", type=float, default=600, metavar="S", help="give up if not ready by then (%(default)s)")
    add("--log-file", metavar="FILE", help="tritonserver's log (stderr; in a terminal a temporary file)")
    add("--log-verbose", type=int, default=0, metavar="LEVEL", help="tritonserver's verbosity (%(default)s)")
    return parser.parse_args(own)
