"""The command line itself: what it lists, how fast, and how it ends."""

import subprocess
import sys
from pathlib import Path

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


HIDING = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
from {module} import {function}
sys.exit({function}({arguments}))
"""
ONLY_SERVER = {"torch", "onnx", "onnxscript", "safetensors"}  # packages that the extra `server` alone does not bring


@pytest.mark.parametrize(
    ("program", "module", "function", "arguments"),
    [
        ("sadtalker-export", "sadtalker_export.cli", "main", ["onnx", "--weights", "demo"]),
        ("sadtalker-export", "sadtalker_export.cli", "main", ["weights", "--synthetic", "DIR"]),
        ("sadtalker-export", "sadtalker_export.cli", "main", ["tensorrt", "--dry-run"]),
        ("sadtalker-train", "sadtalker_training.cli", "train", ["--minutes", "1"]),
        ("sadtalker-evaluate", "sadtalker_training.cli", "evaluate", []),
    ],
)
def test_an_extra_that_is_missing_is_named_in_one_line(
    program: str, module: str, function: str, arguments: list[str], tmp_path: Path
) -> None:
    code = HIDING.format(packages=ONLY_SERVER, module=module, function=function, arguments=arguments)
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{program}: the package ")
    assert line.endswith(" is missing: run pip install '.[export]' in a checkout")
    assert line.split()[3] in ONLY_SERVER


def test_a_module_of_ours_that_is_missing_is_a_bug() -> None:
    def broken() -> int:
        raise ModuleNotFoundError("No module named 'sadtalker_export.nothing'", name="sadtalker_export.nothing")

    with pytest.raises(ModuleNotFoundError):
        cli.guarded("sadtalker-export", broken)


def test_commands_are_modules_of_one_folder() -> None:
    folder = Path(cli.__file__).with_name("commands")
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == {command.name for command in cli.COMMANDS}
