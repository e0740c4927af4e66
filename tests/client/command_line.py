"""The command `sadtalker`, run in the process of the tests."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sadtalker_client._cli import main

COMMAND = [sys.executable, "-c", "import sys; from sadtalker_client._cli import main; sys.exit(main())"]


@contextmanager
def in_process(capture: pytest.CaptureFixture) -> Iterator[Callable[..., subprocess.CompletedProcess]]:
    """Yield a function that runs a command line and returns exit code and output; restores the handler of SIGTERM."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        capture.readouterr()
        try:
            code = main(arguments)
        except SystemExit as usage:
            code = usage.code
        return subprocess.CompletedProcess(arguments, code, *capture.readouterr())

    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        yield run
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
