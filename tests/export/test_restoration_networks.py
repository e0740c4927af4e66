"""The networks that find and restore faces.

figures/restoration.npz holds some values of what the originals compute: those of the reference figures at a coarser
stride, and ParseNet's on the upper left 128 x 128 pixels of the figures' input.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from sadtalker_export.checkpoint import loading, synthetic
from sadtalker_export.checkpoint.restoration_layout import ALIGNMENT, PARSENET, RESTORATION, RETINAFACE
from sadtalker_export.networks.background_enhancer import BackgroundEnhancer
from sadtalker_export.networks.face_alignment import peaks
from sadtalker_export.networks.face_detector import MEAN, FaceDetector
from sadtalker_export.networks.face_enhancer import FaceEnhancer, FaceEnhancerSize
from sadtalker_export.networks.face_parser import FaceParser
from sadtalker_export.networks.frame_enhancer import TEMPLATE, FrameEnhancer, carry, invert, similarity, transform
from sadtalker_export.networks.motion import rotation_matrix
from sadtalker_export.networks.restoreformer import Dictionary, RestoreFormer
from sadtalker_export.networks.stylegan2 import EPSILON, SLOPE, StyleConv
from sadtalker_export.onnx.check import check
from sadtalker_export.onnx.graph import export
from sadtalker_export.parity.bench import Bench
from sadtalker_export.parity.restoration import detected_faces, heatmaps, landmarks
from sadtalker_export.precision.forms import in_precision
from sadtalker_export.presets import PRESETS
from sadtalker_export.restoration_specs import RESTORATION_SPECS
from sadtalker_export.tensorrt.operators import refusals
from sadtalker_runtime.portrait.detections import distinct
from torch import Tensor, nn

TINY = PRESETS["tiny"]
EYES_NOSE_MOUTH = torch.tensor(TEMPLATE)


@pytest.fixture(scope="module")
def bench() -> Bench:
    with np.load(Path(__file__).parent / "figures" / "restoration.npz") as file:
        return Bench(dict(file), prefix="", runtime="torch")


def agrees(bench: Bench, name: str, value: Tensor, *stride: slice, tolerance: float = 1e-4) -> bool:
    """Check that they agree within a part of the figure's standard deviation."""
    expected = bench.figure(name).astype(np.float64)
    actual = value[stride].numpy()
    assert actual.shape == expected.shape
    return bool(np.abs(actual - expected).max() <= tolerance * expected.std())


@torch.no_grad()
def test_the_enhancer_is_gfpgan(bench: Bench) -> None:
    face = bench.input("gfpgan", (1, 3, 512, 512), -1, 1)
    restored = bench.network("face_enhancer", FaceEnhancer)(face)[:, :, ::16, ::16].numpy()
    bench.release(())
    assert np.abs(restored - bench.figure("gfpgan.image")).max() < 1e-3


@torch.no_grad()
def test_restoreformer_is_the_original_s(bench: Bench) -> None:
    face = bench.input("restoreformer", (1, 3, 512, 512), -1, 1)
    restored = bench.network("restoreformer", RestoreFormer)(face)[:, :, ::16, ::16].numpy()
    bench.release(())
    assert np.abs(restored - bench.figure("restoreformer.image")).max() < 1e-3


@torch.no_grad()
def test_the_background_enhancer_is_real_esrgan(bench: Bench) -> None:
    picture = bench.input("realesrgan", (1, 3, 96, 128), 0, 1)
    enlarged = bench.network("background_enhancer", BackgroundEnhancer)(picture)
    bench.release(())
    assert enlarged.shape == (1, 3, 192, 256)
    every_8th = slice(None, None, 8)
    assert agrees(bench, "realesrgan.image", enlarged, slice(None), slice(None), every_8th, every_8th)


@torch.no_grad()
def test_the_nearest_entry_of_the_dictionary_is_found() -> None:
    dictionary = Dictionary(7, 3)
    latents = torch.from_numpy(synthetic.named_input("latents", (2, 3, 4, 5)))
    entries = dictionary.entries.weight
    distances = (latents.permute(0, 2, 3, 1)[..., None, :] - entries).square().sum(-1)
    assert torch.equal(dictionary.nearest(latents), distances.argmin(-1))
    assert torch.equal(dictionary(latents)[1, :, 3, 4], entries[distances[1, 3, 4].argmin()])


@torch.no_grad()
def test_the_detector_is_retinaface(bench: Bench) -> None:
    values = detected_faces(bench)
    every_20th = slice(None, None, 20)
    for name in ("boxes", "scores", "landmarks"):
        assert agrees(bench, f"retinaface.{name}", values[f"retinaface.{name}"], slice(None), every_20th), name
    for name in ("priors", "decoded_boxes", "decoded_landmarks"):
        assert agrees(bench, f"retinaface.{name}", values[f"retinaface.{name}"], every_20th), name


@torch.no_grad()
def test_the_alignment_is_the_stacked_hourglass(bench: Bench) -> None:
    every = slice(None)
    maps = heatmaps(bench)["fan.heatmaps"]
    assert agrees(bench, "fan.heatmaps", maps, every, slice(None, None, 3), slice(None, None, 8), slice(None, None, 4))
    for name, points in landmarks(bench).items():
        assert agrees(bench, name, points), name


@torch.no_grad()
def test_the_parser_is_parsenet(bench: Bench) -> None:
    face = bench.input("parsing", (1, 3, 512, 512), -1, 1)[:, :, :128, :128]
    logits = bench.network("face_parser", FaceParser)(face)[:, :, ::16, ::16]
    assert agrees(bench, "parsenet.logits", logits)


def modulated(conv: StyleConv, x: Tensor, latent: Tensor) -> Tensor:
    """Apply StyleGAN2's definition: the style scales the weights, and each sample has a convolution of its own."""
    results = []
    for sample, style in zip(x, conv.style(latent), strict=True):
        weight = conv.weight[0] * style[None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + EPSILON)
        results.append(F.conv2d(sample[None], weight, padding=1) * 2**0.5)
    return F.leaky_relu(torch.cat(results) + conv.noise_strength * conv.noise + conv.bias, SLOPE)


@pytest.fixture
def conv() -> StyleConv:
    torch.manual_seed(0)
    conv = StyleConv(8, 16, 12, 10, upsample=False).requires_grad_(False)
    for value in conv.parameters():
        value.normal_()
    return conv


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_static_weights_are_the_same_function_as_modulated_ones(conv: StyleConv, size: float) -> None:
    x, latent = torch.randn(3, 16, 10, 10), size * torch.randn(3, 8)
    conv.style.bias.mul_(size)
    torch.testing.assert_close(conv(x, latent), modulated(conv, x, latent), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_half_precision_neither_overflows_nor_vanishes(conv: StyleConv, size: float) -> None:
    """Features of 30 and styles of 1000: their products alone would leave the range of half precision."""
    x, latent = 30 * torch.randn(3, 16, 10, 10), size * torch.randn(3, 8)
    conv.style.bias.mul_(size)
    expected = conv(x, latent)
    half = conv.half()(x.half(), latent.half()).float()
    assert (half - expected).abs().max() < 0.01 * expected.abs().max()


@torch.no_grad()
def test_the_enhancer_in_half_precision_differs_by_less_than_a_grey_level() -> None:
    small = replace(TINY, face_enhancer=FaceEnhancerSize(latent=16, widths=(16, 16, 16, 8)))
    enhancer = loading.synthetic_networks(small, {"face_enhancer"})["face_enhancer"]
    face = torch.from_numpy(synthetic.named_input("small face", (1, 3, 32, 32), -1, 1))
    expected = enhancer(face)
    assert expected.std() > 0.1
    assert (enhancer.half()(face.half()).float() - expected).abs().max() < 2 / 255


@pytest.mark.parametrize("row", [0, 1, 31, 62, 63])
@pytest.mark.parametrize("column", [0, 1, 31, 62, 63])
def test_a_peak_anywhere_moves_towards_its_larger_neighbours_only(row: int, column: int) -> None:
    """Beyond either end of a row lies, in memory, the next one; it is no neighbour."""
    maps = torch.zeros(1, 1, 66, 66)
    maps[0, 0, row + 1, column + 1] = 9
    maps[0, 0, row + 2, column + 1] = maps[0, 0, row + 1, column] = 3
    inside = [0 < position < 63 for position in (column, row)]
    expected = [column + 0.5 - 0.25 * inside[0], row + 0.5 + 0.25 * inside[1]]
    assert peaks(maps[:, :, 1:65, 1:65])[0, 0].tolist() == expected


@torch.no_grad()
def test_the_detector_takes_rgb_and_answers_in_pixels() -> None:
    detector = loading.synthetic_networks(TINY, {"face_detector"})["face_detector"]
    assert isinstance(detector, FaceDetector)
    picture = torch.from_numpy(synthetic.named_input("picture", (1, 3, 64, 96), 0, 255))
    boxes, scores, points = detector(picture)
    _, probabilities, offsets = detector.regress(picture.flip(1) - torch.tensor(MEAN)[:, None, None])
    assert boxes.shape == (1, 252, 4) and points.shape == (1, 252, 5, 2)  # (8 x 12 + 4 x 6 + 2 x 3) * 2
    assert torch.equal(scores, probabilities[:, :, 1])
    # the first prior is 16 pixels large and centred at (4, 4)
    torch.testing.assert_close(points[0, 0, 0], 4 + 0.1 * 16 * offsets[0, 0, :2])
    assert (boxes[..., 2:] > boxes[..., :2]).all()


def test_each_face_is_found_once_and_the_surest_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [40, 40, 60, 60], [0, 0, 9, 9]], np.float32)
    scores = np.array([0.98, 0.99, 0.985, 0.995, 0.5], np.float32)
    assert distinct(boxes, scores) == [3, 1]  # 5 of 15 shared, less one: 6 of 14
    assert distinct(boxes, scores, overlap=0.45) == [3, 1, 2]
    assert distinct(boxes, scores, confidence=0.4, overlap=0.9) == [3, 1, 2, 0, 4]
    assert distinct(boxes, scores, confidence=0.999) == []


def test_similarity_is_found_from_landmarks() -> None:
    matrix = torch.tensor([[[1.5, -0.4, 20.0], [0.4, 1.5, -7.0]]])
    points = transform(invert(matrix), EYES_NOSE_MOUTH[None])[:, 0]
    torch.testing.assert_close(similarity(points, EYES_NOSE_MOUTH), matrix, rtol=1e-4, atol=1e-3)


def test_landmarks_turn_and_shift_with_the_head() -> None:
    points, (source, _) = EYES_NOSE_MOUTH[None] / 2, still()
    none, roll = torch.zeros(1), torch.tensor([20.0])
    turned = source @ rotation_matrix(none, none, roll).transpose(1, 2) + torch.tensor([0.0, 0.1, 0.0])
    moved = carry(points, source[..., :2] * 128, turned[..., :2] * 128)
    expected = points @ rotation_matrix(none, none, roll)[:, :2, :2].transpose(1, 2) + torch.tensor([0.0, 12.8])
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-3)
    aside = source @ rotation_matrix(torch.tensor([30.0]), none, none).transpose(1, 2)
    moved = carry(points, source[..., :2] * 128, aside[..., :2] * 128)
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(points, points), rtol=1e-4, atol=1e-3)


class Paint(nn.Module):
    """An enhancer that does nothing, or paints every face in one colour."""

    def __init__(self, level: float | None = None) -> None:
        super().__init__()
        self.level = level

    def forward(self, face: Tensor) -> Tensor:
        return face if self.level is None else torch.full_like(face, self.level)


@pytest.fixture
def frames() -> Tensor:
    coarse = torch.from_numpy(synthetic.named_input("frames", (2, 3, 9, 9), 0, 255))
    smooth = F.interpolate(coarse, (256, 256), mode="bicubic", align_corners=True).clamp(0, 255)
    return smooth.permute(0, 2, 3, 1).to(torch.uint8)[None]


def still(portraits: int = 1, frames: int = 2) -> tuple[Tensor, Tensor]:
    """Return keypoints of portraits that do not move: those of the source, and the driving ones."""
    source = torch.from_numpy(synthetic.named_input("keypoints", (portraits, 15, 3), -0.5, 0.5))
    return source, source[:, None].expand(-1, frames, -1, -1)


def enlarged(frames: Tensor) -> Tensor:
    images = F.interpolate(frames[0].permute(0, 3, 1, 2).float(), scale_factor=2, mode="bicubic")
    return images.permute(0, 2, 3, 1)[None]


def tilted(scale: float = 0.3) -> Tensor:
    """Return landmarks of a face in the middle of a frame, a little tilted: [1, 5, 2]."""
    turn = scale * torch.tensor([[1.0, -0.2], [0.2, 1.0]])
    return ((EYES_NOSE_MOUTH - 256) @ turn.T + 128)[None]


def test_a_face_that_is_not_changed_comes_back_where_it_was(frames: Tensor) -> None:
    result = FrameEnhancer(Paint())(frames, tilted(), *still())
    assert result.shape == (1, 2, 512, 512, 3) and result.dtype == torch.uint8
    assert (result.float() - enlarged(frames)).abs().max() < 3


def test_outside_of_the_face_s_square_nothing_is_touched_and_the_edge_is_soft(frames: Tensor) -> None:
    frames = frames // 2
    result = FrameEnhancer(Paint(1.0))(frames, tilted(), *still()).float()
    plain = enlarged(frames).round().clamp(0, 255)
    assert torch.equal(result[:, :, :40], plain[:, :, :40]) and torch.equal(result[:, :, :, -40:], plain[:, :, :, -40:])
    assert (result[:, :, 236:276, 236:276] == 255).all()
    weight = (result - plain)[0, 0, 256] / (255 - plain[0, 0, 256])
    assert weight.diff(dim=0).abs().max() < 0.1  # per pixel


def test_the_restored_face_follows_the_keypoints(frames: Tensor) -> None:
    source, driving = still()
    driving = driving + torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.0, 0.3]])[None, :, None]
    result = FrameEnhancer(Paint(1.0))(frames // 2, tilted(0.2), source, driving)
    columns = [(frame[256] == 255).all(-1).nonzero().float().mean() for frame in result[0]]
    assert float(columns[1] - columns[0]) == pytest.approx(0.2 * 255, abs=1.5)


def test_portraits_do_not_see_each_other(frames: Tensor) -> None:
    enhancer = loading.synthetic_networks(TINY, {"face_enhancer"})["face_enhancer"]
    assert isinstance(enhancer, FaceEnhancer)
    graph, places = FrameEnhancer(enhancer), torch.cat([tilted(), tilted(0.4)])
    with torch.no_grad():
        source, driving = still(2, 1)
        both = graph(frames.swapaxes(0, 1), places, source, driving)
        alone = graph(frames[:, 1:], places[1:], source[1:], driving[1:])
    assert (both[1:].int() - alone.int()).abs().max() <= 1
    assert both.float().std() > 10


@pytest.mark.parametrize("name", RESTORATION_SPECS)
def test_exported_networks_compute_the_same(name: str, tmp_path: Path) -> None:
    spec = RESTORATION_SPECS[name]
    module = spec.build(loading.synthetic_networks(TINY, set(spec.networks)))
    export(spec, module, tmp_path / "model.onnx")
    check(spec, module, tmp_path / "model.onnx")
    assert refusals(tmp_path / "model.onnx") == []


def test_the_enhancer_exports_in_half_precision(tmp_path: Path) -> None:
    spec = RESTORATION_SPECS["face_enhancer"]
    module = spec.build(loading.synthetic_networks(TINY, {"face_enhancer"}))
    half, tolerance = in_precision(spec, module, "fp16")
    export(spec, half, tmp_path / "model.onnx")
    check(spec, module, tmp_path / "model.onnx", tolerance)
    assert refusals(tmp_path / "model.onnx") == []
    types = {
        tensor.data_type for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer if len(tensor.dims) > 2
    }
    assert types == {onnx.TensorProto.FLOAT16}


def test_the_files_that_are_there_are_loaded(tmp_path: Path) -> None:
    assert loading.load_restoration(tmp_path, TINY) == {}
    for file in (RETINAFACE, ALIGNMENT, PARSENET):
        loading.write_synthetic(tmp_path, TINY, file)
    path = tmp_path / RETINAFACE.name
    torch.save({f"module.{key}": value for key, value in torch.load(path).items()}, path)  # as it was published
    found = loading.load_restoration(tmp_path, TINY)
    assert set(found) == {"face_detector", "face_alignment", "face_parser"}
    expected = loading.synthetic_networks(TINY, {network for file in RESTORATION for network in file.networks()})
    for name, network in found.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, expected[name].state_dict()[key]), f"{name}.{key}"
