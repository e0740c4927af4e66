"""The command line itself: what it lists, how fast, and how it ends."""

import subprocess
import sys

import pytest
from sadtalker_export import cli
from sadtalker_export.checkpoint.layout import CheckpointError
from sadtalker_export.errors import CheckFailedError, UsageError


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    output = capsys.readouterr().out
    assert all(command.name in output for command in cli.COMMANDS)


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"sadtalker-export {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["weights", "--help"]])
def test_help_does_without_pytorch(arguments: list[str]) -> None:
    code = f"""
import sys
from sadtalker_export import cli
try:
    cli.main({arguments})
except SystemExit:
    sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["weights"], ["parity"], ["weights", "--size", "300"]])
def test_bad_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: sadtalker-export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckFailedError("three is not four"), 1),
        (UsageError("expected four, got three"), 2),
        (CheckpointError("file.safetensors: missing key 'four'"), 2),
        (OSError(28, "No space left on device", "/data"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_problems_are_told_without_a_traceback(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sadtalker_export.commands import weights

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(weights, "download", fail)
    assert cli.main(["weights", "--official", "anywhere"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("sadtalker-export: ")
    assert (str(error) or "interrupted") in lines[0]
