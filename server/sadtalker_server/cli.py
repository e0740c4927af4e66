"""The command `sadtalker-server`: serves a model repository until Ctrl-C or SIGTERM; `init` writes one."""

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sadtalker_runtime.version import VERSION

from sadtalker_server import LaunchError, Server
from sadtalker_server._initialization import example, initialize
from sadtalker_server._restart import serve
from sadtalker_server._restriction import KEY_VARIABLE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 after a stop in which every request was answered, else 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["init"]:
        return _initialize(arguments[1:])
    options = _parse(arguments)
    # A container stops with SIGTERM, a terminal with Ctrl-C: both leave the server's context, which drains it. A
    # second one interrupts the draining and kills.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)

    console = Console(stderr=True)
    log_file = options.log_file or (None if console.is_terminal else "stderr")
    columns = (SpinnerColumn(), TextColumn("loading models"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=log_file == "stderr")
    bar = progress.add_task("models", total=None)

    def report(text: str) -> None:
        console.print(f"sadtalker-server: {text}", style="red", markup=False, highlight=False, soft_wrap=True)

    try:
        admin_key = options.admin_key_file.read_text().strip() if options.admin_key_file else None
    except OSError as error:
        report(f"admin key file {options.admin_key_file} cannot be read: {error.strerror}")
        return 1
    server = Server(
        options.model_repository,
        host=options.host,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        tritonserver=options.tritonserver,
        model_config_name=None if options.model_config_name == "default" else options.model_config_name,
        exit_timeout_secs=options.exit_timeout_secs,
        start_timeout_secs=options.start_timeout_secs,
        log_file=log_file,
        log_verbose=options.log_verbose,
        open_protocols=options.open_protocols,
        admin_key=admin_key,
        extra_arguments=options.tritonserver_arguments,
        on_progress=lambda loaded, models: progress.update(bar, completed=loaded, total=models),
    )
    try:
        with ExitStack() as running:
            with progress:
                running.enter_context(server)
            print(_ready(server), flush=True)
            serve(server, options.restart == "always", report)
    except KeyboardInterrupt:
        return 0 if server.stopped_cleanly else 1
    except LaunchError as error:
        report(str(error))
        return 1
    return 0


def _initialize(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sadtalker-server init",
        description="Writes a model repository: every configuration, and the demo's networks if it has none. Repeated, "
        "it writes what is missing.",
    )
    parser.add_argument("repository", type=Path, metavar="DIR", help="a new or empty folder, or one written by this")
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace files that differ from this version's, and other demo networks; networks of other weights stay",
    )
    options = parser.parse_args(argv)
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("writing files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    try:
        with progress:
            bar = progress.add_task("files", total=None)
            done = initialize(
                options.repository,
                force=options.force,
                on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except (LaunchError, OSError) as error:
        console.print(f"sadtalker-server: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    manifest = done.manifest
    networks = f"{len(manifest.models)} networks ({manifest.preset}, {manifest.precision}, {manifest.size} pixels)"
    kept = (
        ", kept as they were" + (" (--force: this version's)" if manifest.preset == "demo" else "") if done.kept else ""
    )
    files = f"{done.written} file{'' if done.written == 1 else 's'} written"
    print(f"{options.repository}: {files}; {networks}{kept}")
    print(f"  serve    sadtalker-server --model-repository {options.repository}")
    print(f"  try      sadtalker animate {example('portrait.jpg')} {example('speech.wav')} -o video.mp4")
    return 0


def _ready(server: Server) -> str:
    preset = f", {server.repository.preset} preset" if server.repository.preset else ""
    missing = ", ".join(server.repository.not_installed)
    missing = f"; not installed: {missing}" if missing else ""
    variant = f", {server.model_config_name}" if server.model_config_name else ""
    return "\n".join(
        [
            f"ready: {len(server.repository.models)} models{preset}{variant}{missing}",
            f"  gRPC     {server.grpc_url}",
            f"  HTTP     {server.http_url} (/healthz, /readyz, /metrics)",
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
        usage="%(prog)s [options] [-- tritonserver options]\n       %(prog)s init DIR [--force]",
        description="Serves a model repository with the real tritonserver until Ctrl-C or SIGTERM. "
        "`init DIR` writes one, with small demo networks.",
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
    add("--http-port", type=int, default=8000, metavar="PORT", help="probes and metrics (%(default)s; 0: a free one)")
    add("--grpc-port", type=int, default=8001, metavar="PORT", help="models (%(default)s; 0: a free one)")
    add(
        "--model-config-name",
        default="auto",
        metavar="NAME",
        help="use configs/NAME.pbtxt of the models that have it; default: config.pbtxt; auto: bf16 where the processor "
        "computes in it and these weights passed its gate when they were exported, else default (%(default)s)",
    )
    add("--tritonserver", default="auto", metavar="WHICH", help="auto (from PATH, else embedded), embedded, or a path")
    add("--exit-timeout-secs", type=int, default=30, metavar="S", help="let requests in flight finish (%(default)s)")
    add("--start-timeout-secs", type=float, default=600, metavar="S", help="give up if not ready by then (%(default)s)")
    add(
        "--restart",
        choices=("never", "always"),
        default="never",
        help="what to do when a process has died: end with code 1, or start again on the same ports (%(default)s)",
    )
    add(
        "--admin-key-file",
        type=Path,
        metavar="FILE",
        help=f"has the key that shared memory, statistics, logging etc. ask for (else {KEY_VARIABLE}, else random)",
    )
    add("--open-protocols", action="store_true", help="do not ask for that key")
    add("--log-file", metavar="FILE", help="tritonserver's log (stderr; in a terminal a temporary file)")
    add("--log-verbose", type=int, default=0, metavar="LEVEL", help="tritonserver's verbosity (%(default)s)")
    return parser.parse_args(own)
