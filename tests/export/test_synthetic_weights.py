"""Deterministic weights and inputs: the values that anyone else's implementation of the scheme gives."""

from pathlib import Path

import numpy as np
import pytest
from sadtalker_export import cli
from sadtalker_export.checkpoint import synthetic
from sadtalker_export.checkpoint.layout import MAPPING_CROP, MAPPING_FULL, SADTALKER, Shape

GENERATOR = "gfpgan.stylegan_decoder."


@pytest.mark.parametrize(
    ("key", "shape", "first"),
    [
        ("generator.first.conv.weight", (64, 3, 3, 3), [-0.042995840311050415, -0.005793201737105846]),
        ("generator.first.conv.bias", (64,), [-0.10375562310218811, -0.003533950773999095]),
        ("generator.first.norm.weight", (64,), [0.9072434902191162, 1.0562267303466797]),
        ("generator.first.norm.running_mean", (64,), [0.08038398623466492, -0.03945877030491829]),
        ("generator.first.norm.running_var", (64,), [1.1936111450195312, 1.1906105279922485]),
        ("generator.decoder.up_0.conv_0.weight_u", (16,), [-0.007987337186932564, 0.21591387689113617]),
        (GENERATOR + "noises.noise0", (1, 1, 4, 4), [-0.19906768202781677, -0.2145967185497284]),
        (GENERATOR + "style_conv1.modulated_conv.weight", (1, 8, 6, 3, 3), [-0.08744987100362778, 0.09164511412382126]),
        (GENERATOR + "style_conv1.weight", (1,), [-0.04145887494087219]),
        (GENERATOR + "constant_input.weight", (1, 8, 4, 4), [-0.26101699471473694, 0.7152599096298218]),
    ],
)
def test_weights_are_a_function_of_their_key(key: str, shape: Shape, first: list[float]) -> None:
    value = synthetic.tensor(key, shape)
    assert value.shape == shape and value.dtype == np.float32
    assert value.ravel()[: len(first)].tolist() == first


def test_counters_are_zero_integers() -> None:
    value = synthetic.tensor("generator.first.norm.num_batches_tracked", ())
    assert value.dtype == np.int64 and value == 0


def test_inputs_are_a_function_of_their_name() -> None:
    normal = synthetic.named_input("mapping", (2, 70, 27)).ravel()[:3].tolist()
    uniform = synthetic.named_input("blink", (1, 41, 1), 0, 1).ravel()[:3].tolist()
    assert normal == [-0.35690373182296753, 0.11721426993608475, -0.41722598671913147]
    assert uniform == [0.6035671234130859, 0.35856392979621887, 0.733577311038971]


def test_spectral_norm_vectors_belong_to_their_weight() -> None:
    shapes: dict[str, Shape] = {"c.weight_orig": (3, 2, 3, 3), "c.weight_u": (3,), "c.weight_v": (18,)}
    state = synthetic.state(SADTALKER[256], shapes)
    np.testing.assert_array_equal(
        state["c.weight_u"], np.float32([0.7118287086486816, 0.7022626399993896, -0.011269586160779])
    )
    np.testing.assert_array_equal(
        state["c.weight_v"][:3], np.float32([0.1465039998292923, 0.2648390233516693, 0.29933086037635803])
    )


def test_files_with_equal_keys_have_their_own_values() -> None:
    shapes: dict[str, Shape] = {"fc_t.bias": (3,)}
    crop, full = (synthetic.state(file, shapes)["fc_t.bias"] for file in (MAPPING_CROP, MAPPING_FULL))
    np.testing.assert_array_equal(crop, synthetic.tensor("mapping_00229.fc_t.bias", (3,)))
    np.testing.assert_array_equal(full, synthetic.tensor("mapping_00109.fc_t.bias", (3,)))


def test_the_command_writes_all_files_the_same_each_time(tmp_path: Path) -> None:
    command = ["weights", "--preset", "tiny", "--size", "256", "512", "--with", "enhancer", "--with", "detectors"]
    command += ["--with", "restoreformer", "--with", "background"]
    for directory in ("once", "again"):
        assert cli.main([*command, "--synthetic", str(tmp_path / directory)]) == 0
    assert sorted(path.name for path in (tmp_path / "once").iterdir()) == [
        "GFPGANv1.4.pth",
        "RealESRGAN_x2plus.pth",
        "RestoreFormer.pth",
        "SadTalker_V0.0.2_256.safetensors",
        "SadTalker_V0.0.2_512.safetensors",
        "alignment_WFLW_4HG.pth",
        "detection_Resnet50_Final.pth",
        "mapping_00109-model.pth.tar",
        "mapping_00229-model.pth.tar",
        "parsing_parsenet.pth",
    ]
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_mirror_makes_no_sense_for_synthetic_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "--synthetic", str(tmp_path), "--mirror", "http://127.0.0.1:1"]) == 2
    assert "--mirror goes with --official" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
