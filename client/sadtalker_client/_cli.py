"""The command `sadtalker`: animate a portrait or many, take a poster, or ask whether a server is ready.

Exit codes: 0 done, 2 bad usage or input, 3 no server there or not ready, 130 interrupted, 1 anything else.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

from ._async_client import AsyncSadTalkerClient
from ._batch import Tally, report, run_batch
from ._channel import TLS
from ._cli_options import key_and_value, positive, request_options
from ._client import Animation, SadTalkerClient
from ._coefficients import load_coefficients, plot_coefficients, save_coefficients
from ._exceptions import InvalidInputError, SadTalkerError, ServerUnavailableError
from ._files import UNLIMITED, UploadLimits, atomic_write
from ._migration import advice
from ._options import DATATYPES, Options
from ._pairs import PICTURES, RECORDINGS, every_pair, listed_pairs
from ._progress import Meter, shown_progress
from ._wire import Fragment

_STDOUT = "-"
_Client = TypeVar("_Client", SadTalkerClient, AsyncSadTalkerClient)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if answer := advice(argv):
        return _fail(2, answer)
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as on Ctrl-C, no partial file is left
    try:
        arguments.run(arguments)
    except InvalidInputError as error:
        return _fail(2, error)
    except ServerUnavailableError as error:
        return _fail(3, error)
    except SadTalkerError as error:
        return _fail(1, error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        return _fail(1, "the reader of standard output is gone; cancelled")
    except OSError as error:
        return _fail(1, f"cannot write the video: {error}")
    except KeyboardInterrupt:
        return _fail(130, "cancelled")
    return 0


def _fail(code: int, reason: object) -> int:
    request_id = getattr(reason, "request_id", None)
    suffix = [f"(request {request_id})"] if request_id else []
    print("sadtalker:", *str(reason).split(), *suffix, file=sys.stderr)  # always one line
    return code


def _animate(arguments: argparse.Namespace) -> None:
    _check_output(arguments.output, arguments.json)
    with _client(arguments) as client:
        meter = Meter()
        with shown_progress(meter) as show:
            animation = client.animate(**_request(arguments))
            if arguments.output == _STDOUT:
                _write_to_stdout(animation, show)
            else:
                animation.save(arguments.output, show)
    if arguments.json:
        print(json.dumps({"output": arguments.output, "request_id": animation.request_id, **meter.report()}))
    else:
        print(f"{arguments.output}: {meter.frames} frames in {meter.seconds:.1f} s, {meter}", file=sys.stderr)


def _poster(arguments: argparse.Namespace) -> None:
    _check_output(arguments.output, as_json=False)
    with _client(arguments) as client:
        picture = client.poster(**_request(arguments))
    if arguments.output == _STDOUT:
        sys.stdout.buffer.write(picture)
    else:
        with atomic_write(arguments.output) as file:
            file.write(picture)


def _coefficients(arguments: argparse.Namespace) -> None:
    _check_output(arguments.output, as_json=False)
    with _client(arguments) as client:
        values = client.coefficients(
            arguments.speech, arguments.portrait, **_options(arguments), timeout=arguments.timeout
        )
    save_coefficients(arguments.output, values)
    if arguments.plot:
        plot_coefficients(arguments.plot, values)
    print(f"{arguments.output}: coefficients of {len(values)} frames", file=sys.stderr)


def _batch(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.output)
    if (arguments.pairs is None) == (arguments.portraits is None):
        raise InvalidInputError("batch: expected either --portraits or --pairs")
    if arguments.pairs is not None:
        if arguments.speech:
            raise InvalidInputError("batch: expected --speech beside --portraits only, got it with --pairs")
        pairs = listed_pairs(Path(arguments.pairs), folder)
    else:
        pairs = every_pair(arguments.portraits, arguments.speech, folder)
    moved = any(getattr(arguments, name) is not None for name in ("driving", "idle", "coefficients"))
    silent = [pair.portrait for pair in pairs if pair.speech is None]
    if silent and not moved:
        raise InvalidInputError(f"batch: expected speech for {silent[0]}, or --idle or --driving, got none")
    for parent in {pair.output.parent for pair in pairs} | {folder}:
        parent.mkdir(parents=True, exist_ok=True)
    results = Path(arguments.results) if arguments.results else folder / "results.jsonl"

    async def run() -> Tally:
        running = asyncio.current_task()
        assert running is not None
        for interruption in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows interrupts by an exception
                asyncio.get_running_loop().add_signal_handler(interruption, running.cancel)
        async with _connected(AsyncSadTalkerClient, arguments) as client:
            return await run_batch(
                client,
                pairs,
                _options(arguments),
                results=results,
                at_once=arguments.at_once,
                again=arguments.again,
                timeout=arguments.timeout,
            )

    try:
        tally = asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if arguments.json:
        print(json.dumps(report(tally, results)))
    if tally.unavailable:
        raise tally.unavailable
    if tally.failed:
        raise SadTalkerError(f"{tally.failed} of {len(pairs)} videos failed; {results} says why")
    made = f"{tally.made} made, {tally.skipped} there already"
    print(f"{folder}: {len(pairs)} videos, {made}; {results}", file=sys.stderr)


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of a client's method for one video."""
    names = ("portrait", "speech", "timeout", "request_id")
    return {**{name: getattr(arguments, name) for name in names}, **_options(arguments)}


def _options(arguments: argparse.Namespace) -> Options:
    options = {name: getattr(arguments, name, None) for name in DATATYPES}  # `batch` has no photos
    if options["coefficients"] is not None:
        options["coefficients"] = load_coefficients(options["coefficients"])
    return cast(Options, options)


def _write_to_stdout(animation: Animation, show: Callable[[Fragment], None]) -> None:
    with animation:
        for fragment in animation:
            sys.stdout.buffer.write(fragment.data)
            sys.stdout.buffer.flush()
            show(fragment)


def _check_output(output: str, as_json: bool) -> None:
    if output != _STDOUT:
        if Path(output).is_dir() or not Path(output).parent.is_dir():
            raise InvalidInputError(f"output: expected a file in a directory that exists, got {output}")
    elif as_json:
        raise InvalidInputError("output: expected a file together with --json, got standard output for both")
    elif sys.stdout.isatty():
        raise InvalidInputError("output: expected a pipe or a file behind -o -, got a terminal")


def _status(arguments: argparse.Namespace) -> None:
    with _client(arguments) as client:
        if arguments.wait:
            client.wait_until_ready(arguments.wait)
        elif not client.is_ready():
            raise ServerUnavailableError(f"{arguments.url} is not ready")
    print(f"{arguments.url} is ready")


def _client(arguments: argparse.Namespace) -> SadTalkerClient:
    return _connected(SadTalkerClient, arguments)


def _connected(kind: type[_Client], arguments: argparse.Namespace) -> _Client:
    tls = TLS(arguments.tls_ca, arguments.tls_key, arguments.tls_cert)
    wanted = arguments.tls or tls != TLS()
    return kind(
        arguments.url,
        tls=tls if wanted else None,
        metadata=dict(arguments.metadata),
        upload_limits=UNLIMITED if getattr(arguments, "any_size", False) else UploadLimits(),
    )


def _version() -> str:
    try:
        return metadata.version("sadtalker-triton")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "(not installed)"


def _parser() -> argparse.ArgumentParser:
    connection = argparse.ArgumentParser(add_help=False)
    group = connection.add_argument_group("connection")
    group.add_argument("--url", default="127.0.0.1:8001", help="the server's gRPC address (default: %(default)s)")
    group.add_argument("--tls", action="store_true", help="encrypt, trusting the usual certificate authorities")
    group.add_argument("--tls-ca", metavar="PEM", help="encrypt, trusting these certificate authorities")
    group.add_argument("--tls-cert", metavar="PEM", help="this client's certificate chain (mutual TLS)")
    group.add_argument("--tls-key", metavar="PEM", help="this client's private key (mutual TLS)")
    group.add_argument(
        "--metadata", metavar="KEY=VALUE", type=key_and_value, action="append", default=[], help="sent with every call"
    )

    parser = argparse.ArgumentParser(prog="sadtalker", description="Talking-head videos from a SadTalker server.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("portrait", metavar="PORTRAIT", help="a picture with one face")
    asked.add_argument("speech", metavar="SPEECH", nargs="?", help="a recording, in any audio format")
    asked.add_argument("--request-id", metavar="ID", help="name in the server's log and traces (default: a random one)")
    asked.add_argument(
        "--photo",
        dest="photos",
        metavar="FILE",
        action="append",
        help="another photo of the same person, up to 7: shown where the face is nearer to it (repeatable)",
    )

    options = request_options()
    animate = commands.add_parser(
        "animate", parents=[connection, asked, options], help="make a video of a portrait that speaks or moves"
    )
    animate.set_defaults(run=_animate)
    animate.add_argument("-o", "--output", metavar="MP4", required=True, help="the file to write; - streams to a pipe")
    animate.add_argument("--json", action="store_true", help="print the figures of the run as JSON")

    batch = commands.add_parser(
        "batch",
        parents=[connection, options],
        help="make many videos: every portrait with every recording, or a list of pairs",
        description="Make many videos, some at a time. Those that are there, and newer than their portrait and "
        "recording, are skipped, so the same command goes on where it was broken off. Code 0: all are there; 1: some "
        "failed; 2: bad input, nothing was begun; 3: no server.",
    )
    batch.set_defaults(run=_batch)
    batch.add_argument(
        "--portraits",
        metavar="PATH",
        nargs="+",
        help=f"pictures: files, folders (their {' '.join(PICTURES)}) or quoted patterns such as 'people/**/*.png'",
    )
    batch.add_argument(
        "--speech",
        metavar="PATH",
        nargs="+",
        default=[],
        help=f"recordings, each for every portrait: files, folders (their {' '.join(RECORDINGS)}) or patterns",
    )
    batch.add_argument(
        "--pairs",
        metavar="FILE",
        help="instead: a CSV file with the columns portrait, speech and, if wished, output, or the same as JSON lines "
        "(.jsonl); paths in it are relative to it, outputs to -o",
    )
    batch.add_argument(
        "-o", "--output", metavar="FOLDER", required=True, help="where the videos go, as PORTRAIT+SPEECH.mp4"
    )
    batch.add_argument(
        "--at-once", metavar="N", type=positive, default=2, help="videos in progress (default: %(default)s)"
    )
    batch.add_argument("--again", action="store_true", help="make those that are there, too, as after other options")
    batch.add_argument(
        "--results", metavar="JSONL", help="where a line per video is added (default: results.jsonl in the folder)"
    )
    batch.add_argument("--json", action="store_true", help="print the numbers of videos as JSON")

    poster = commands.add_parser(
        "poster", parents=[connection, asked, options], help="make the video's first frame, a PNG picture"
    )
    poster.set_defaults(run=_poster)
    poster.add_argument("-o", "--output", metavar="PNG", required=True, help="the file to write; - writes to a pipe")

    coefficients = commands.add_parser(
        "coefficients",
        parents=[connection, asked, options],
        help="write what moves the portrait, frame by frame, to a file",
    )
    coefficients.set_defaults(run=_coefficients)
    coefficients.add_argument("-o", "--output", metavar="NPZ", required=True, help="the file to write")
    coefficients.add_argument("--plot", metavar="PNG", help="draw them, too (needs matplotlib)")

    status = commands.add_parser("status", parents=[connection], help="say whether the server is ready")
    status.set_defaults(run=_status)
    status.add_argument("--wait", type=float, metavar="SECONDS", help="wait this long for it")
    return parser
