"""The commands `sadtalker-train` and `sadtalker-evaluate`: their help, and how they end on bad usage."""

from collections.abc import Callable

import pytest
from sadtalker_training.cli import evaluate, train


@pytest.mark.parametrize(("main", "option"), [(train, "--minutes"), (evaluate, "--people")])
def test_a_command_explains_itself(main: Callable[..., int], option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    output = capsys.readouterr().out
    assert f"usage: sadtalker-{main.__name__}" in output and option in output


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (train, ["--minutes", "0"], "sadtalker-train: --minutes: expected more than 0, got 0"),
        (train, [], "sadtalker-train: --minutes: expected how long to train, or --snapshot; got neither"),
        (
            train,
            ["--snapshot", "--state", "nowhere"],
            "sadtalker-train: --snapshot: expected the state of an earlier call in nowhere, found none",
        ),
        (train, ["--minutes", "1", "--workers", "0"], "sadtalker-train: --workers: expected at least 1, got 0"),
        (
            evaluate,
            ["--sheet", "sheet.png"],
            "sadtalker-evaluate: --sheet: expected a file to write and at least one portrait, got only the file",
        ),
        (
            evaluate,
            ["--sheet", "sheet.png", "nowhere.jpg"],
            "sadtalker-evaluate: --sheet: expected a picture in nowhere.jpg, got No such file or directory",
        ),
        (evaluate, ["--people", "0"], "sadtalker-evaluate: expected at least one person and one sentence, got 0 and 6"),
    ],
)
def test_bad_usage_is_one_line(
    main: Callable[..., int], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [message]
