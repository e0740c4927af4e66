"""The gate of the face enhancer in half precision: which faces it judges, and what it does not let pass."""

import copy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from sadtalker_export.checkpoint import loading
from sadtalker_export.cli import main
from sadtalker_export.commands import precision as gate
from sadtalker_export.networks.face_enhancer import FaceEnhancer
from sadtalker_export.precision.engines import Engine, eager, half
from sadtalker_export.precision.enhancer import ENHANCER, judge, restore, restored_part
from sadtalker_export.precision.metrics import FACE_LIMITS, Frames, compare_faces
from sadtalker_export.precision.portraits import pictures, portrait
from sadtalker_export.presets import PRESETS
from torch import Tensor, nn

Portrait = tuple[Tensor, Tensor]
COMMAND = ["precision", "--weights", "tiny", "--precision", "fp16", "--enhancer"]


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return loading.synthetic_networks(PRESETS["tiny"], {"face_enhancer"})


@pytest.fixture(scope="module")
def someone(portrait_path: Path) -> Portrait:
    return portrait(portrait_path)


@pytest.fixture(scope="module")
def restored(networks: dict[str, nn.Module], someone: Portrait) -> Frames:
    with torch.no_grad():
        return restore(eager(networks, ENHANCER), *someone)


def always(frames: Frames) -> Engine:
    """Return an engine that answers with these frames."""
    return lambda *_: (torch.from_numpy(frames)[None],)


def failing(values: dict[str, float]) -> set[str]:
    return {limit.name for limit in FACE_LIMITS if not limit.keeps(values[limit.name])}


# Figures.


@torch.no_grad()
def test_a_face_survives_half_precision(networks: dict[str, nn.Module], someone: Portrait, restored: Frames) -> None:
    assert restored.std((1, 2)).min() > 10 and len(np.unique(restored, axis=0)) == len(restored)
    values = judge(always(restored), half(networks, ENHANCER), *someone)
    assert failing(values) == set(), values
    assert values["PSNR"] < 100  # it was half precision


@torch.no_grad()
def test_a_face_that_leaves_the_range_of_half_precision_is_caught(
    networks: dict[str, nn.Module], someone: Portrait, restored: Frames
) -> None:
    """Features 2**24 times as large, and so much less of them: in float32 the very same function."""
    enhancer = copy.deepcopy(networks["face_enhancer"])
    assert isinstance(enhancer, FaceEnhancer)
    block = enhancer.degradation_removal.down[0]
    for parameter in block.conv1.parameters():
        parameter *= 2**24
    block.conv2.weight /= 2**24
    careless = {"face_enhancer": enhancer}
    assert np.array_equal(restore(eager(careless, ENHANCER), *someone), restored)
    frames = restore(half(careless, ENHANCER), *someone)
    assert (frames[:, restored_part(someone[1])] == 0).all()
    assert failing(judge(always(restored), always(frames), *someone)) == {limit.name for limit in FACE_LIMITS}


def spoiled(restored: Frames, how: str) -> Frames:
    frames = restored.copy()
    last = frames[-1:]  # one frame of a chunk is enough
    if how == "black":
        last[:] = 0
    elif how == "one colour":
        last[:] = last.mean((1, 2), keepdims=True)
    elif how == "tinted":
        last[..., 0] = np.clip(last[..., 0].astype(int) + 2, 0, 255)
    elif how == "shifted":
        last[:] = np.roll(last, 2, axis=2)
    elif how == "flat":
        last[:] = last.mean((1, 2), keepdims=True) + 0.9 * (last - last.mean((1, 2), keepdims=True))
    return frames


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("as it was", set()),
        ("black", {"PSNR", "mean colour", "structure", "contrast", "least contrast"}),
        ("one colour", {"PSNR", "structure", "contrast", "least contrast"}),
        ("tinted", {"mean colour"}),
        ("shifted", {"structure"}),
        ("flat", {"contrast"}),
    ],
)
def test_what_is_wrong_with_a_frame_is_seen(how: str, seen: set[str], restored: Frames, someone: Portrait) -> None:
    values = compare_faces(restored, spoiled(restored, how), restored_part(someone[1]))
    assert seen <= failing(values) and ("PSNR" in failing(values) or failing(values) == seen), values


def test_only_the_restored_face_counts(restored: Frames, someone: Portrait) -> None:
    part, frames = restored_part(someone[1]), restored.copy()
    assert part.shape == restored.shape[1:3] and 0.1 < part.mean() < 0.9
    frames[:, ~cv2.dilate(part.astype(np.uint8), np.ones((3, 3))).astype(bool)] = 0  # but for its neighbours
    values = compare_faces(restored, frames, part)
    assert failing(values) == set() and values["PSNR"] == float("inf")


def test_faces_of_one_colour_prove_nothing(restored: Frames, someone: Portrait) -> None:
    black = np.zeros_like(restored)
    assert {"structure", "contrast", "least contrast"} <= failing(
        compare_faces(black, black, restored_part(someone[1]))
    )


# Pictures.


def test_pictures_of_a_directory_in_order(tmp_path: Path, portrait_path: Path) -> None:
    for name in ("b.JPG", "a.png", "speech.wav", "notes.txt"):
        (tmp_path / name).touch()
    assert pictures([tmp_path, portrait_path]) == [tmp_path / "a.png", tmp_path / "b.JPG", portrait_path]


def test_a_portrait_is_cut_out_as_the_server_does(someone: Portrait) -> None:
    face, landmarks = someone
    assert face.shape == (1, 3, 256, 256) and face.dtype == torch.float32 and 0.2 < float(face.mean()) < 0.8
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1] and bool(((landmarks > 40) & (landmarks < 216)).all())


# The command.


def test_the_command_judges_every_picture(
    restored: Frames,
    tmp_path: Path,
    portrait_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = [restored, restored]
    monkeypatch.setattr(gate, "eager", lambda *_: always(restored))
    monkeypatch.setattr(gate, "half", lambda *_: lambda *_: always(frames.pop(0))())
    shutil.copy(portrait_path, tmp_path / "again.jpg")
    assert main([*COMMAND, str(portrait_path), str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "portrait.jpg" in output and "again.jpg" in output and "over" not in output
    frames += [spoiled(restored, "one colour"), restored]
    assert main([*COMMAND, str(portrait_path), str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("over") >= 4


def test_what_cannot_be_used_is_told(tmp_path: Path, portrait_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    for name, message in (
        ("nobody.png", "expected a picture, found no file"),
        ("empty", "expected pictures in this directory, found none"),
        ("broken.png", "expected an encoded picture"),
        ("wall.png", "expected a frontal face, got a picture of 200 x 200 pixels without one"),
    ):
        assert main([*COMMAND, str(portrait_path), str(tmp_path / name)]) == 2
        assert f"sadtalker-export: {tmp_path / name}: {message}" in capsys.readouterr().err
    assert main(["precision", "--weights", "demo", "--precision", "fp16", "--enhancer", str(portrait_path)]) == 2
    assert main(["precision", "--weights", "tiny", "--precision", "bf16", "--enhancer", str(portrait_path)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sadtalker-export")]
    assert "expected the face enhancer's file among them" in lines[0]
    assert "--enhancer goes with --precision fp16, got bf16" in lines[1]
