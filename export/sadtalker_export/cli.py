"""`sadtalker-export`: one subcommand per module, imported only when it is the one asked for.

Exit codes: 0 done, 1 a check or a download failed, 2 the arguments or the files given cannot be used.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from .checkpoint.layout import CheckpointError
from .errors import CheckFailedError, UsageError


@dataclass(frozen=True)
class Command:
    """A module with `add_arguments(parser)` and `run(args) -> int`."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Command("weights", ".weights", "download the official checkpoint files, or write synthetic ones in their layout"),
    Command("onnx", ".onnx_export", "export the networks into a Triton model repository"),
    Command(
        "tensorrt", ".tensorrt_export", "build TensorRT engines from the exported networks, on the GPU that runs them"
    ),
    Command("parity", ".parity", "compare the networks with reference figures"),
    Command("precision", ".precision_gate", "compare frames in reduced precision with frames in single precision"),
    Command("evaluate", ".evaluation.command", "measure in frames whether the demo's networks talk"),
    Command("train", ".training.command", "train the demo's networks on faces and speech that are made for it"),
    Command("flops", ".flops", "count the arithmetic of every network"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code; problems that a person can solve are one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="sadtalker-export", description="From SadTalker's checkpoints to ONNX models."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('sadtalker-triton')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.summary, description=command.summary.capitalize())
        if arguments[:1] == [command.name]:  # PyTorch takes seconds to import: --help does without
            module = importlib.import_module(command.module, __package__)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except CheckFailedError as error:
        print(f"sadtalker-export: {error}", file=sys.stderr)
        return 1
    except (UsageError, CheckpointError, OSError) as error:
        print(f"sadtalker-export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sadtalker-export: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
