"""`sadtalker-train` and `sadtalker-evaluate`: each a module of `commands`.

Exit codes: 0 done, 1 a goal was missed, 2 the arguments or the files given cannot be used.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from sadtalker_export.cli import guarded


def train(argv: Sequence[str] | None = None) -> int:
    """Run `sadtalker-train` and return the exit code."""
    return _main("train", argv)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Run `sadtalker-evaluate` and return the exit code."""
    return _main("evaluate", argv)


def _main(name: str, argv: Sequence[str] | None) -> int:
    program = f"sadtalker-{name}"

    def run() -> int:
        command = importlib.import_module(f".commands.{name}", __package__)
        parser = argparse.ArgumentParser(prog=program, description=command.__doc__)
        parser.add_argument("--version", action="version", version=f"%(prog)s {version('sadtalker-triton')}")
        command.add_arguments(parser)
        return int(command.run(parser.parse_args(sys.argv[1:] if argv is None else argv)))

    return guarded(program, run)
