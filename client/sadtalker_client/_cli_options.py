"""The options of a request as flags of the command `sadtalker`, and how their values are written."""

import argparse


def request_options() -> argparse.ArgumentParser:
    """Return a parent parser with everything that can be said of a video beside portrait and speech."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--timeout", type=float, metavar="SECONDS", help="give up after this long (default: never)")
    options.add_argument("--any-size", action="store_true", help="send large files, too, and let the server judge them")
    group = options.add_argument_group("instead of speech")
    group.add_argument("--driving", metavar="VIDEO", help="move as the face in this video; speech is then only heard")
    group.add_argument("--idle", type=float, metavar="SECONDS", help="a seamless loop of this length")
    group = options.add_argument_group("options (the server's defaults apply)")
    group.add_argument("--pose-style", type=int, metavar="N", help="manner of moving the head, 0 to 45")
    group.add_argument("--expression-scale", type=float, metavar="X", help="strength of the expression, 1 is natural")
    group.add_argument("--head-motion-scale", type=float, metavar="X", help="how far the head moves, 1 is natural")
    group.add_argument("--still", action="store_const", const=True, help="hold the head still")
    for angle, meaning in (("yaw", "turn to the side"), ("pitch", "turn up and down"), ("roll", "tilt")):
        group.add_argument(
            f"--{angle}",
            type=key_frames,
            metavar="S:DEG,...",
            help=f"the head's {meaning}, degrees at these seconds, smooth in between, as 0:0,1.5:20,3:-10, or one",
        )
    group.add_argument("--seed", type=int, metavar="N", help="seed of head motion and blinks")
    group.add_argument("--no-blink", dest="blink", action="store_const", const=False, help="never blink")
    group.add_argument("--blink-rate", type=float, metavar="N", help="blinks per minute")
    group.add_argument("--blink-times", type=seconds_list, metavar="S,...", help="blink at these seconds")
    group.add_argument("--blink-reference", metavar="VIDEO", help="take eyes and expression from the face in it")
    group.add_argument("--pose-reference", metavar="VIDEO", help="move the head as the face in it")
    group.add_argument("--settle", type=float, metavar="S", help="begin and end at rest, easing for this many seconds")
    group.add_argument(
        "--coefficients", metavar="NPZ", help="move as this file says, which `sadtalker coefficients` wrote"
    )
    group.add_argument("--speech-model", metavar="NAME", help="what gives expression and pose (default: audio2coeff)")
    group.add_argument(
        "--preview", action="store_const", const=True, help="draw the face's 3-D keypoints instead of rendering it"
    )
    group.add_argument("--size", type=int, metavar="N", help="edge of the picture in pixels")
    group.add_argument("--crop", metavar="HOW", help="crop, extcrop, resize, full (the whole picture) or extfull")
    group.add_argument("--face-index", type=int, metavar="N", help="which of several faces, from the left, from 0 on")
    group.add_argument(
        "--enhance", metavar="HOW", help="gfpgan or restoreformer restores the face and doubles the picture; or none"
    )
    group.add_argument(
        "--background",
        metavar="HOW",
        help="realesrgan restores a whole picture and doubles it, once per portrait; or none",
    )
    return options


def key_and_value(text: str) -> tuple[str, str]:
    """Parse KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, value


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def key_frames(text: str) -> list[tuple[float, float]]:
    """Parse `0:0,1.5:20`, 0 degrees at 0 s and 20 at 1.5 s; a number alone is a constant angle."""
    try:
        points = [point.split(":") for point in text.split(",")]
        if len(points) == 1 and len(points[0]) == 1:
            return [(0.0, float(text))]
        return [(float(seconds), float(degrees)) for seconds, degrees in points]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SECONDS:DEGREES,... or DEGREES, got {text!r}") from None


def seconds_list(text: str) -> list[float]:
    """Parse seconds, separated by commas."""
    try:
        return [float(second) for second in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SECONDS,..., got {text!r}") from None
