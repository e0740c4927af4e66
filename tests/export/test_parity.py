"""`sadtalker-export parity` on the part of the reference figures that the repository carries.

figures/networks.npz and preparation.npz are cut from what the original computes; prefixed.npz is its mapping network
on inputs whose names begin with "unseen.".
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sadtalker_export import cli
from sadtalker_export.parity.comparison import Row, difference, planned
from sadtalker_export.parity.registry import PRODUCERS, Tolerance

FIGURES = Path(__file__).parent / "figures"


@pytest.fixture
def cut(tmp_path: Path) -> Callable[..., Path]:
    """Make a figures file of some arrays of a committed one, with some of them replaced."""

    def make(source: str, *names: str, **replaced: np.ndarray) -> Path:
        with np.load(FIGURES / source) as file:
            arrays = {name: file[name] for name in names} | replaced
        np.savez(tmp_path / "cut.npz", **arrays)
        return tmp_path / "cut.npz"

    return make


def parity(figures: Path, *arguments: str) -> int:
    return cli.main(["parity", "--figures", str(figures), *arguments])


def verdicts(output: str) -> dict[str, tuple[str, str]]:
    """Map an array to (engine, verdict) as the table says."""
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: (row[1], row[-1]) for row in rows if row and row[-1] in ("ok", "over")}


@pytest.mark.parametrize(("file", "engine"), [("networks.npz", "torch"), ("preparation.npz", "numpy")])
def test_our_arithmetic_is_the_reference_s(file: str, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(FIGURES / file) == 0
    with np.load(FIGURES / file) as figures:
        inputs = [name for name in figures if any(p.inputs.fullmatch(name) for p in PRODUCERS)]
        expected = {name: (engine, "ok") for name in figures if name not in inputs}
    output = capsys.readouterr().out
    assert verdicts(output) == expected
    assert f"{len(expected)} arrays, 0 over tolerance" in output


def test_a_prefix_changes_the_inputs_and_not_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(FIGURES / "prefixed.npz", "--prefix", "unseen.") == 0
    assert len(verdicts(capsys.readouterr().out)) == 5
    assert parity(FIGURES / "prefixed.npz") == 1
    assert {verdict for _, verdict in verdicts(capsys.readouterr().out).values()} == {"over"}


def test_exported_networks_agree_too(cut: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    names = ("audio2exp.exp", "audio2pose.pose", "keypoints.transformed_fixed_pose", "mapping.yaw")
    assert parity(cut("networks.npz", *names), "--runtime", "onnx") == 0
    assert verdicts(capsys.readouterr().out) == {
        "audio2exp.exp": ("onnx", "ok"),
        "audio2pose.pose": ("onnx", "ok"),
        "keypoints.transformed_fixed_pose": ("onnx", "ok"),
        "mapping.yaw": ("torch", "ok"),
    }


def test_one_spoiled_value_is_found(cut: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(FIGURES / "networks.npz") as figures:
        spoiled = figures["mapping.t"]
    spoiled[1, 2] += 0.002
    assert parity(cut("networks.npz", "mapping.yaw", **{"mapping.t": spoiled})) == 1
    output = capsys.readouterr().out
    assert verdicts(output) == {"mapping.yaw": ("torch", "ok"), "mapping.t": ("torch", "over")}
    assert "2.00e-03" in output and "1 over tolerance: mapping.t" in output


def test_one_pixel_off_in_a_crop_is_found(cut: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(FIGURES / "preparation.npz") as figures:
        spoiled = figures["crop2.crop"] + np.array([0, 0, 1, 0])
    figures = cut("preparation.npz", "crop2.landmarks", "crop2.image_size_wh", **{"crop2.crop": spoiled})
    assert parity(figures) == 1
    assert "over tolerance: crop2.crop" in capsys.readouterr().out


def test_a_figure_of_a_shorter_clip_is_computed_at_its_length(cut: Callable[..., Path]) -> None:
    """Inputs are drawn frame after frame and audio2exp sees each alone, so its first frames are their own figure."""
    with np.load(FIGURES / "networks.npz") as figures:
        shorter = figures["audio2exp.exp"][:, :7]
    assert parity(cut("networks.npz", **{"audio2exp.exp": shorter})) == 0


def test_numbers_that_are_not_ones_never_pass() -> None:
    exact, figure = Tolerance(1e-3), np.array([1.0, 2.0])
    for value in ([1.0, np.nan], [1.0, np.inf], [1.0]):
        assert not Row("a", "torch", difference(figure, np.array(value), exact), exact).passed
    assert Row("a", "torch", difference(figure, np.array([1.0, 2.0005]), exact), exact).passed


def test_relative_tolerances_are_in_standard_deviations() -> None:
    figure = np.array([0.0, 2000.0])
    assert difference(figure, figure + 0.5, Tolerance(1e-3, relative=True)) == 0.5 / 1000
    assert difference(figure, figure + 0.5, Tolerance(1e-3)) == 0.5


def test_an_array_that_nobody_makes_is_an_error(cut: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    figures = cut("networks.npz", "mapping.yaw", **{"mapping.jaw": np.zeros(3), "crop7.hat": np.zeros(1)})
    assert parity(figures) == 2
    assert last_line(capsys) == "sadtalker-export: no producer computes 'mapping.jaw', 'crop7.hat'"


@pytest.mark.parametrize(("without", "source"), [("audio.wav", "audio.mel"), ("crop0.landmarks", "crop0.quad")])
def test_a_figure_without_its_input_is_an_error(
    cut: Callable[..., Path], capsys: pytest.CaptureFixture[str], without: str, source: str
) -> None:
    assert parity(cut("preparation.npz", source)) == 2
    assert f"the figures lack '{without}'" in last_line(capsys)


def test_inputs_alone_are_nothing_to_compare(cut: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(cut("preparation.npz", "audio.wav")) == 2
    assert "nothing to compare, only 'audio.wav'" in last_line(capsys)


@pytest.mark.parametrize("content", [b"", b"not arrays", b"PK\x03\x04 broken"])
def test_a_file_that_holds_no_arrays(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    assert parity(tmp_path / "bad.npz") == 2
    assert f"{tmp_path / 'bad.npz'}: not a readable .npz file" in last_line(capsys)


def test_pickled_arrays_are_not_read(cut: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(cut("networks.npz", **{"mapping.yaw": np.array([{}], dtype=object)})) == 2
    assert "not a readable .npz file" in last_line(capsys)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(tmp_path / "none.npz") == 2
    assert last_line(capsys) == f"sadtalker-export: {tmp_path / 'none.npz'}: not found"


def test_every_array_has_one_producer() -> None:
    for file in FIGURES.glob("*.npz"):
        with np.load(file) as figures:
            for name in figures:
                assert sum(bool(p.arrays.fullmatch(name) or p.inputs.fullmatch(name)) for p in PRODUCERS) == 1, name
            assert planned(dict(figures))


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text.rstrip().splitlines()[-1]
