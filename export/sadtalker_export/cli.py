"""`sadtalker-export`: one module of `commands` per subcommand, imported only when it is the one asked for.

Exit codes: 0 success, 1 a check or a download failed, 2 unusable arguments or files.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from .checkpoint.layout import CheckpointError
from .errors import CheckFailedError, UsageError

EXTRA = "export"  # the extra of pyproject.toml with the packages that the commands import


@dataclass(frozen=True)
class Command:
    """A subcommand: the module of `commands` that has its name, and one line of help."""

    name: str
    summary: str

    @property
    def module(self) -> str:
        """Return the module's name, relative to this package."""
        return f".commands.{self.name}"


COMMANDS = (
    Command("weights", "download the official checkpoint files, or write synthetic ones in their layout"),
    Command("onnx", "export the networks into a Triton model repository"),
    Command("bundle", "pack the demo's networks for the wheel, after a change of their weights or of the exporter"),
    Command("tensorrt", "build TensorRT engines from the exported networks, on the GPU that runs them"),
    Command("parity", "compare the networks with reference figures"),
    Command("precision", "compare frames in reduced precision with frames in single precision"),
    Command("calibrate", "write the renderer with its decoder in 8 bits, calibrated on portraits and recordings"),
    Command("flops", "count the arithmetic of every network"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code; errors that the user can fix are one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded("sadtalker-export", lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sadtalker-export", description="Turn SadTalker's checkpoints into ONNX models and TensorRT engines."
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
    return int(args.run(args))


def guarded(program: str, run: Callable[[], int]) -> int:
    """Return the exit code of `run`; print an error that it raises as one line on stderr."""
    try:
        return run()
    except CheckFailedError as error:
        code, message = 1, str(error)
    except (UsageError, CheckpointError, OSError) as error:
        code, message = 2, str(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package.startswith("sadtalker_"):
            raise
        code = 2
        message = f"the package {package} is missing: run pip install '.[{EXTRA}]' in a checkout"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    print(f"{program}: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
