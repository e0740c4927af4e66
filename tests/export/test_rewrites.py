"""Every rewrite computes what the plain form computes, in float64 to rounding."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from sadtalker_export.checkpoint import loading, synthetic
from sadtalker_export.networks.convolution import ConvNorm, inclusive_grid, repeat_pixels
from sadtalker_export.networks.dense_motion import gaussian_maps
from sadtalker_export.networks.picture_transfer import CELL, enlargement
from sadtalker_export.networks.spade_decoder import Spade, SpadeBlock, SpadeDecoder, SpadeDecoderSize
from sadtalker_export.presets import PRESETS
from sadtalker_export.rewrites import for_cpu as forms
from sadtalker_export.rewrites.folding import fold_norm
from sadtalker_export.rewrites.for_cpu import for_cpu
from sadtalker_export.rewrites.narrow_convolution import NarrowConvolution, VolumeNarrowConvolution
from sadtalker_export.rewrites.renderer import FrameBytes
from sadtalker_export.rewrites.resize_convolution import ResizeConvolution
from sadtalker_export.rewrites.sampled_convolution import RowSampledConvolution, SampledConvolution
from sadtalker_export.rewrites.sorted_axis import (
    LongConvolution,
    Sort,
    SortedConvolution,
    SortedModulatedConvolution,
    SortedRepeat,
    Unsort,
)
from sadtalker_export.rewrites.spade import FastSpadeBlock, FastSpadeDecoder, ModulatedConvolution, Modulation
from sadtalker_export.rewrites.toom_cook import toom_cook
from sadtalker_export.rewrites.translation import translate
from sadtalker_export.rewrites.volume_sampling import sample_volume
from sadtalker_export.rewrites.winograd import WinogradConvolution, WinogradModulation

EXACT = 1e-9


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def random(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(synthetic.named_input(name, shape)).double()


def fill(module: torch.nn.Module) -> torch.nn.Module:
    """Return deterministic weights by key, in float64."""
    state = {k: torch.from_numpy(synthetic.tensor(k, tuple(v.shape))) for k, v in module.state_dict().items()}
    module.load_state_dict(state)
    return module.double().eval()


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    assert a.shape == b.shape
    assert b.abs().max() > 0.1
    assert (a - b).abs().max() < EXACT


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("axes", [2, 3])
def test_upsampling_and_convolving_is_one_transposed_convolution(axes, factor):
    x = random("x", 2, 3, *[3] * (axes - 2), 5, 7)
    weight, bias = random("weight", 4, 3, *[3] * axes), random("bias", 4)
    conv = F.conv2d if axes == 2 else F.conv3d
    assert_same(ResizeConvolution(weight, bias, factor)(x), conv(repeat_pixels(x, factor), weight, bias, padding=1))


@pytest.mark.parametrize("dims", [2, 3])
def test_folding_a_batch_normalisation(dims):
    block = fill(ConvNorm(3, 5, dims=dims, slope=1.0))
    x = random("x", 1, 3, *[6] * dims)
    conv = F.conv2d if dims == 2 else F.conv3d
    assert_same(conv(x, *fold_norm(block), padding=1), block(x))


def test_a_wide_convolution_with_one_output_channel():
    conv = fill(torch.nn.Conv2d(6, 1, 7, padding=3))
    x = random("x", 2, 6, 9, 8)
    assert_same(NarrowConvolution(conv)(x), conv(x))
    volume = x.reshape(2, 3, 2, 9, 8)
    assert_same(NarrowConvolution(conv)(volume), conv(x))
    assert_same(VolumeNarrowConvolution(NarrowConvolution(conv), 2)(volume), conv(x))


def test_translating_axis_by_axis():
    volume, shifts = random("volume", 2, 3, 4, 8, 6), random("shifts", 2, 5, 3)
    grids = inclusive_grid((4, 8, 6), volume) + shifts.reshape(10, 1, 1, 1, 3)
    repeated = volume.unsqueeze(1).expand(-1, 5, -1, -1, -1, -1).flatten(0, 1)
    plain = F.grid_sample(repeated, grids, align_corners=False).reshape(2, 5, 3, 4, 8, 6)
    assert_same(translate(volume, shifts), plain)


@pytest.mark.parametrize("reach", [0.3, 1.0, 5.0], ids="flow within {} of the grid".format)
def test_sampling_a_volume_with_two_dimensional_samples(reach):
    volume = random("volume", 2, 3, 4, 8, 6)
    flow = inclusive_grid((4, 8, 6), volume) + reach * random("flow", 2, 5, 4, 8, 6, 3)
    repeated = volume.unsqueeze(1).expand(-1, 5, -1, -1, -1, -1).flatten(0, 1)
    plain = F.grid_sample(repeated, flow.flatten(0, 1), align_corners=False).reshape(2, 5, 3, 4, 8, 6)
    assert_same(sample_volume(volume, flow), plain)


@pytest.mark.parametrize("reach", [0.3, 1.0, 5.0], ids="flow within {} of the grid".format)
def test_sampling_a_volume_row_by_row(reach):
    block = SampledConvolution(fill(ConvNorm(3 * 4, 5, slope=0.01)))
    volume = random("volume", 2, 3, 4, 8, 6)
    flow = inclusive_grid((4, 8, 6), volume) + reach * random("flow", 2, 5, 4, 8, 6, 3)
    warped = sample_volume(volume, flow).flatten(0, 1).flatten(1, 2)
    assert_same(block(volume, flow), block.block(warped))
    assert_same(RowSampledConvolution(block, 4)(volume, flow), block.block(warped))


def test_rows_of_positions_that_are_no_numbers_are_rows_of_the_volume():
    block = SampledConvolution(fill(ConvNorm(3 * 4, 5)))
    volume = random("volume", 1, 3, 4, 8, 6)
    flow = inclusive_grid((4, 8, 6), volume).expand(1, 2, -1, -1, -1, -1).clone()
    expected = block(volume, flow)
    flow[0, 0, 0, 0, 0, 0], flow[0, 0, 0, 0, 1, 1], flow[0, 0, 0, 0, 2, 2] = float("nan"), float("inf"), -float("inf")
    features = RowSampledConvolution(block, 4)(volume, flow)
    assert features.isnan().any() and not features[0, :, 4:].isnan().any()
    assert_same(features[1], expected[1])


def test_enlarging_with_two_matrices():
    x = random("x", 2, 3, 5, 7)
    rows, columns = (enlargement(n, x) for n in x.shape[-2:])
    assert_same(rows @ x @ columns.T, F.interpolate(x, scale_factor=float(CELL), mode="bilinear"))


def test_gaussians_are_the_product_of_their_axes():
    keypoints = 0.5 * random("keypoints", 2, 3, 3)
    distance = (inclusive_grid((4, 8, 6), keypoints) - keypoints[:, :, None, None, None]).pow(2).sum(-1)
    assert_same(gaussian_maps(keypoints, (4, 8, 6)), torch.exp(-0.5 * distance / 0.01))


def test_a_spade_block_that_doubles_and_changes_width():
    block = fill(SpadeBlock(6, 4, 5, 3))
    x, features = random("x", 2, 6, 8, 8), random("features", 2, 5, 8, 8)
    spades = (block.spade0, block.spade1, block.spade_skip)
    shared = [F.relu(spade.shared(repeat_pixels(features))) for spade in spades]
    assert_same(FastSpadeBlock(block)(x, shared, doubled=True), block(repeat_pixels(x), features))


@pytest.mark.parametrize(("outputs", "taps"), [(1, 1), (2, 3), (4, 3), (4, 7)])
def test_a_short_filter_with_fewer_multiplications(outputs, taps):
    algorithm = toom_cook(outputs, taps)
    values, taps_ = random("values", 5, outputs + taps - 1), random("taps", taps)
    products = (algorithm.weights @ taps_) * (values @ algorithm.inputs.T)
    assert_same(products @ algorithm.outputs.T, values.unfold(1, taps, 1) @ taps_)


def test_a_convolution_by_tiles():
    conv = fill(torch.nn.Conv2d(6, 5, 3, padding=1))
    x = random("x", 2, 6, 12, 8)
    assert_same(WinogradConvolution(conv)(x), conv(x))


def test_a_modulation_by_tiles():
    modulation = Modulation(fill(Spade(4, 5, 6)))
    x, hidden = random("x", 2, 4, 8, 12), random("hidden", 2, 6, 8, 12)
    assert_same(WinogradModulation(modulation)(x, hidden), modulation(x, hidden))


def between(module: torch.nn.Module, x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Return what a module for sorted axes makes of inputs in their natural order, brought back to it."""
    sort, unsort = Sort(), Unsort()
    return unsort(module(sort(x), *map(sort, others)))


def test_sorting_rows_by_remainder():
    x = torch.arange(8.0).reshape(1, 1, 8, 1)
    assert Sort()(x).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert torch.equal(Unsort()(Sort()(x)), x)


@pytest.mark.parametrize(
    "conv",
    [
        torch.nn.Conv2d(6, 5, 3, padding=1),
        torch.nn.Conv3d(6, 5, 3, padding=1),
        torch.nn.Conv3d(6, 2, 7, padding=3),
    ],
    ids=["3x3", "3x3x3", "7x7x7"],
)
def test_a_convolution_along_a_sorted_axis(conv):
    conv = fill(conv)
    x = random("x", 2, 6, 8, *[7] * (conv.weight.dim() - 3))
    assert_same(between(SortedConvolution(conv), x), conv(x))


def test_doubling_volumes_with_sorted_depths():
    weight, bias = random("weight", 4, 3, 3, 3, 3), random("bias", 4)
    conv = ResizeConvolution(weight, bias, 2)
    x = random("x", 2, 3, 8, 5, 7)
    assert_same(between(SortedConvolution(conv), x), conv(x))


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_a_long_convolution_along_a_sorted_axis_in_pieces(taps):
    conv = fill(torch.nn.Conv3d(6, 2, taps, padding=taps // 2))
    x = random("x", 2, 6, 8, 7, 7)
    assert_same(between(LongConvolution(conv), x), conv(x))


def test_a_modulated_convolution_on_sorted_rows():
    block = fill(SpadeBlock(4, 4, 5, 6))
    modulated = ModulatedConvolution(block.spade0, block.conv0)
    x, hidden = random("x", 2, 4, 8, 7), random("hidden", 2, 6, 8, 7)
    assert_same(between(SortedModulatedConvolution(modulated), x, hidden), modulated(x, hidden))


def test_repeating_pixels_of_sorted_rows():
    x = random("x", 2, 3, 8, 5)
    assert torch.equal(between(SortedRepeat(), x), repeat_pixels(x))


def test_the_whole_decoder():
    size = SpadeDecoderSize(features=6, middle=8, middle_blocks=2, up=(6, 4), hidden=(5, 4, 3))
    decoder = fill(SpadeDecoder(size))
    features = random("features", 2, 6, 8, 8)
    assert_same(FastSpadeDecoder(decoder)(features), decoder(features))


@pytest.mark.parametrize(
    ("precision", "kinds"),
    [
        ("fp32", {WinogradConvolution: 5, WinogradModulation: 3}),
        ("bf16", {SortedConvolution: 24, SortedModulatedConvolution: 6}),
    ],
)
def test_the_whole_decoder_with_fewer_multiplications_leaves_the_original_as_it_was(precision, kinds):
    size = SpadeDecoderSize(features=128, middle=128, middle_blocks=1, up=(6, 4), hidden=(128, 128, 3))
    fast = FastSpadeDecoder(fill(SpadeDecoder(size)))
    features = random("features", 4, 128, 4, 8)
    faster = for_cpu(fast, 2, precision)
    assert Counter(kind for part in faster.modules() if (kind := type(part)) in kinds) == kinds
    assert not {type(part) for part in fast.modules()} & kinds.keys()
    assert_same(faster(features), fast(features))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_whole_renderer_with_fewer_multiplications(monkeypatch, precision):
    fast = FrameBytes(loading.synthetic_networks(PRESETS["tiny"], {"face_renderer"})["face_renderer"].double()).renderer
    inputs = random("volume", 1, 32, 16, 64, 64), random("source", 1, 15, 3), random("driving", 1, 2, 15, 3)
    assert all(type(part) is not SortedConvolution for part in for_cpu(fast, 2, precision).modules())  # too narrow
    monkeypatch.setattr(forms, "WORTHWHILE", 0)
    monkeypatch.setattr(forms, "WORTHWHILE_DEEP", 0)
    faster = for_cpu(fast, 2, precision)
    assert any(type(part) is SortedConvolution for part in faster.dense_motion.hourglass.modules())
    assert_same(faster(*inputs), fast(*inputs))


def test_the_whole_renderer_over_portraits_and_frames():
    plain = loading.synthetic_networks(PRESETS["tiny"], {"face_renderer"})["face_renderer"].double()
    fast = FrameBytes(plain)
    volume, source = random("volume", 2, 32, 16, 64, 64), 0.3 * random("source", 2, 15, 3)
    driving = source.unsqueeze(1) + 0.2 * random("driving", 2, 2, 15, 3)
    frames = fast.renderer(volume, source, driving)
    for portrait in range(2):
        for frame in range(2):
            expected = plain(volume[[portrait]], source[[portrait]], driving[[portrait], frame])
            assert_same(frames[[portrait], frame], expected)
    expected_bytes = (frames * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2)
    assert torch.equal(fast(volume, source, driving), expected_bytes)
