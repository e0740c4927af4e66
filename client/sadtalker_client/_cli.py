"""The command `sadtalker`: animate a portrait, take its poster, or ask whether a server is ready.

Exit codes: 0 done, 2 bad usage or input, 3 no server there or not ready, 130 interrupted, 1 anything else.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import cast

from ._channel import TLS
from ._client import Animation, SadTalkerClient
from ._coefficients import load_coefficients, plot_coefficients, save_coefficients
from ._exceptions import InvalidInputError, SadTalkerError, ServerUnavailableError
from ._files import UNLIMITED, UploadLimits, atomic_write
from ._migration import advice
from ._options import DATATYPES, Options
from ._progress import Meter, shown_progress
from ._wire import Fragment

_STDOUT = "-"


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
            animation = client.animate(
                arguments.portrait,
                arguments.speech,
                **_options(arguments),
                timeout=arguments.timeout,
                request_id=arguments.request_id,
            )
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
        picture = client.poster(
            arguments.portrait,
            arguments.speech,
            **_options(arguments),
            timeout=arguments.timeout,
            request_id=arguments.request_id,
        )
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


def _options(arguments: argparse.Namespace) -> Options:
    options = {name: getattr(arguments, name) for name in DATATYPES}
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
    tls = TLS(arguments.tls_ca, arguments.tls_key, arguments.tls_cert)
    wanted = arguments.tls or tls != TLS()
    return SadTalkerClient(
        arguments.url,
        tls=tls if wanted else None,
        metadata=dict(arguments.metadata),
        upload_limits=UNLIMITED if getattr(arguments, "any_size", False) else UploadLimits(),
    )


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, value


def _key_frames(text: str) -> list[tuple[float, float]]:
    """Parse `0:0,1.5:20`, 0 degrees at 0 s and 20 at 1.5 s; a number alone is a constant angle."""
    try:
        points = [point.split(":") for point in text.split(",")]
        if len(points) == 1 and len(points[0]) == 1:
            return [(0.0, float(text))]
        return [(float(seconds), float(degrees)) for seconds, degrees in points]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SECONDS:DEGREES,... or DEGREES, got {text!r}") from None


def _seconds(text: str) -> list[float]:
    try:
        return [float(second) for second in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SECONDS,..., got {text!r}") from None


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
        "--metadata", metavar="KEY=VALUE", type=_key_and_value, action="append", default=[], help="sent with every call"
    )

    parser = argparse.ArgumentParser(prog="sadtalker", description="Talking-head videos from a SadTalker server.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("portrait", metavar="PORTRAIT", help="a picture with one face")
    asked.add_argument("speech", metavar="SPEECH", nargs="?", help="a recording, in any audio format")
    asked.add_argument("--timeout", type=float, metavar="SECONDS", help="give up after this long (default: never)")
    asked.add_argument("--request-id", metavar="ID", help="name in the server's log and traces (default: a random one)")
    asked.add_argument("--any-size", action="store_true", help="send large files, too, and let the server judge them")
    group = asked.add_argument_group("instead of speech")
    group.add_argument("--driving", metavar="VIDEO", help="move as the face in this video; speech is then only heard")
    group.add_argument("--idle", type=float, metavar="SECONDS", help="a seamless loop of this length")
    group = asked.add_argument_group("options (the server's defaults apply)")
    group.add_argument(
        "--photo",
        dest="photos",
        metavar="FILE",
        action="append",
        help="another photo of the same person, up to 7: shown where the face is nearer to it (repeatable)",
    )
    group.add_argument("--pose-style", type=int, metavar="N", help="manner of moving the head, 0 to 45")
    group.add_argument("--expression-scale", type=float, metavar="X", help="strength of the expression, 1 is natural")
    group.add_argument("--head-motion-scale", type=float, metavar="X", help="how far the head moves, 1 is natural")
    group.add_argument("--still", action="store_const", const=True, help="hold the head still")
    for angle, meaning in (("yaw", "to the side"), ("pitch", "up and down"), ("roll", "of the tilt")):
        group.add_argument(
            f"--{angle}",
            type=_key_frames,
            metavar="S:DEG,...",
            help=f"the head's angle {meaning}, at these seconds, smooth in between, as 0:0,1.5:20,3:-10; or one angle",
        )
    group.add_argument("--seed", type=int, metavar="N", help="seed of head motion and blinks")
    group.add_argument("--no-blink", dest="blink", action="store_const", const=False, help="never blink")
    group.add_argument("--blink-rate", type=float, metavar="N", help="blinks per minute")
    group.add_argument("--blink-times", type=_seconds, metavar="S,...", help="blink at these seconds")
    group.add_argument("--blink-reference", metavar="VIDEO", help="take eyes and expression from the face in it")
    group.add_argument("--pose-reference", metavar="VIDEO", help="move the head as the face in it")
    group.add_argument("--settle", type=float, metavar="S", help="begin and end at rest, easing for this many seconds")
    group.add_argument(
        "--coefficients", metavar="NPZ", help="move as this file says, which `sadtalker coefficients` wrote"
    )
    group.add_argument("--speech-model", metavar="NAME", help="what gives expression and pose (default: audio2coeff)")
    group.add_argument("--size", type=int, metavar="N", help="edge of the picture in pixels")
    group.add_argument("--crop", metavar="HOW", help="crop, extcrop, resize, full (the whole picture) or extfull")
    group.add_argument("--face-index", type=int, metavar="N", help="which of several faces, from the left, from 0 on")
    group.add_argument("--enhance", metavar="HOW", help="gfpgan restores the face and doubles the picture; or none")

    animate = commands.add_parser(
        "animate", parents=[connection, asked], help="make a video of a portrait that speaks or moves"
    )
    animate.set_defaults(run=_animate)
    animate.add_argument("-o", "--output", metavar="MP4", required=True, help="the file to write; - streams to a pipe")
    animate.add_argument("--json", action="store_true", help="print the figures of the run as JSON")

    poster = commands.add_parser(
        "poster", parents=[connection, asked], help="make the video's first frame, a PNG picture"
    )
    poster.set_defaults(run=_poster)
    poster.add_argument("-o", "--output", metavar="PNG", required=True, help="the file to write; - writes to a pipe")

    coefficients = commands.add_parser(
        "coefficients", parents=[connection, asked], help="write what moves the portrait, frame by frame, to a file"
    )
    coefficients.set_defaults(run=_coefficients)
    coefficients.add_argument("-o", "--output", metavar="NPZ", required=True, help="the file to write")
    coefficients.add_argument("--plot", metavar="PNG", help="draw them, too (needs matplotlib)")

    status = commands.add_parser("status", parents=[connection], help="say whether the server is ready")
    status.set_defaults(run=_status)
    status.add_argument("--wait", type=float, metavar="SECONDS", help="wait this long for it")
    return parser
