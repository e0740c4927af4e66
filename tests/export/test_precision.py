"""Reduced precision: what of a graph it touches, what it does to frames, and what the gate makes of that."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, shape_inference
from rich.console import Console
from sadtalker_export.checkpoint import loading
from sadtalker_export.cli import main
from sadtalker_export.commands import precision as command
from sadtalker_export.console import progress
from sadtalker_export.onnx import repository as exporting
from sadtalker_export.onnx.check import check
from sadtalker_export.onnx.graph import export
from sadtalker_export.precision import engines as precision_engines
from sadtalker_export.precision import gate, verdict
from sadtalker_export.precision.forms import HalfPrecision, in_precision
from sadtalker_export.precision.metrics import LIMITS, Frames, compare, displacements, head_motion, mouth_motion, psnr
from sadtalker_export.presets import PRESETS
from sadtalker_export.rewrites import for_cpu
from sadtalker_export.specs import SPECS, NetworkSpec
from sadtalker_export.tensorrt.operators import refusals
from sadtalker_runtime.manifest import BF16_MODEL, read_manifest
from torch import Tensor, nn

FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
CONVOLUTIONS = {"Conv", "ConvTranspose"}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return loading.synthetic_networks(PRESETS["tiny"])


# Metrics, on a made-up face: noise that moves as a whole, with a mouth that opens and closes.


def clip(*, amplitude: float = 1.0, turn: float = 0.0, shade: int = 0) -> Frames:
    """Return twelve frames; `turn` is the head's displacement per frame in pixels, `amplitude` scales the mouth."""
    rng = np.random.default_rng(5)
    texture = cv2.resize(rng.uniform(60, 180, (48, 48, 3)), (384, 384), interpolation=cv2.INTER_LINEAR)
    frames = []
    for t in range(12):
        face = texture.copy()
        face[210 : 220 + round(amplitude * 12 * abs(np.sin(t))), 140:196] = 20
        x = 40 + round(turn * t)
        frames.append(face[40:296, x : x + 256] + shade)
    return np.round(frames).astype(np.uint8)


SPEAKING, TURNING = clip(), clip(amplitude=0, turn=2)


def failing(values: dict[str, float]) -> set[str]:
    return {limit.name for limit in LIMITS if not limit.keeps(values[limit.name])}


def test_equal_frames_pass() -> None:
    values = compare((SPEAKING, SPEAKING), (TURNING, TURNING))
    assert failing(values) == set() and values["PSNR"] == float("inf")


def test_lips_that_stop_moving_fail_whatever_the_psnr() -> None:
    frozen = SPEAKING.copy()
    frozen[:, 150:220, 80:180] = frozen[0, 150:220, 80:180]
    values = compare((SPEAKING, frozen), (TURNING, TURNING))
    assert values["mouth motion"] == pytest.approx(1)
    assert "mouth motion" in failing(values) and "head motion" not in failing(values)


def test_lips_that_move_a_little_less_fail() -> None:
    assert mouth_motion(SPEAKING, clip(amplitude=0.8)) > 0.02


def test_a_head_that_stops_or_lags_fails() -> None:
    assert displacements(TURNING) == pytest.approx(np.tile([-2.0, 0.0], (11, 1)), abs=0.1)
    still, slower = TURNING[:1].repeat(12, 0), clip(amplitude=0, turn=1)
    assert "head motion" in failing(compare((SPEAKING, SPEAKING), (TURNING, still)))
    assert head_motion(TURNING, slower) == pytest.approx(0.5, abs=0.1)


def test_a_shift_in_colour_fails() -> None:
    values = compare((SPEAKING, clip(shade=2)), (TURNING, clip(amplitude=0, turn=2, shade=2)))
    assert failing(values) == {"mean colour"} and values["mean colour"] == pytest.approx(2)


def test_rounding_noise_is_no_motion() -> None:
    rng = np.random.default_rng(6)
    noisy = [(c + rng.integers(-2, 3, c.shape)).astype(np.uint8) for c in (SPEAKING, TURNING)]
    assert failing(compare((SPEAKING, noisy[0]), (TURNING, noisy[1]))) == set()


def test_lips_that_never_move_prove_nothing() -> None:
    still = SPEAKING[:1].repeat(12, 0)
    assert failing(compare((still, still), (TURNING, TURNING))) == {"mouth motion"}


def test_psnr_of_a_known_error() -> None:
    assert psnr(SPEAKING, SPEAKING + np.uint8(1)) == pytest.approx(20 * np.log10(255))


# Graphs.


def typed(path: Path) -> tuple[onnx.GraphProto, dict[str, int]]:
    """Return a graph with the element type of each of its tensors."""
    graph = shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return graph, types | {t.name: t.data_type for t in graph.initializer}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("precision")


@pytest.fixture(scope="module")
def engines(networks: dict[str, nn.Module], folder: Path) -> dict[str, precision_engines.Engine]:
    """Return the engines by name; that of bf16 exports its files into `folder`."""
    return {name: make(networks, gate.REDUCED, folder) for name, make in precision_engines.ENGINES.items()}


def test_tensorrt_takes_the_portrait_in_fp16(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    spec, path = SPECS["appearance_encoder"], tmp_path / "fp16.onnx"
    export(spec, in_precision(spec, spec.build(networks), "fp16")[0], path)
    assert refusals(path) == []


def test_an_fp16_graph_is_strongly_typed_with_islands(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    spec, path = SPECS["face_renderer"], tmp_path / "fp16.onnx"
    module = spec.build(networks)
    form, tolerance = in_precision(spec, module, "fp16")
    export(spec, form, path)
    check(spec, module, path, tolerance)
    graph, types = typed(path)
    assert refusals(path) == []
    kinds = {
        kind: {types[n.input[0]] for n in graph.node if n.op_type == kind} for kind in {n.op_type for n in graph.node}
    }
    for island in ("GridSample", "Softmax", "Sigmoid", "InstanceNormalization", "Einsum", "Exp", "MatMul", "Round"):
        assert kinds[island] == {FLOAT}, island
    convolutions = [types[n.input[0]] for n in graph.node if n.op_type in CONVOLUTIONS]
    assert convolutions.count(FLOAT) == 1  # of the portrait's features, for the motion
    assert convolutions.count(HALF) == len(convolutions) - 1 > 30
    assert {v.name: types[v.name] for v in (*graph.input, *graph.output)} == {
        "appearance": FLOAT,
        "source_keypoints": FLOAT,
        "driving_keypoints": FLOAT,
        "frames": TensorProto.UINT8,
    }


def test_a_bf16_graph_keeps_its_places_in_float64(
    engines: dict[str, precision_engines.Engine], folder: Path, networks: dict[str, nn.Module]
) -> None:
    assert "bf16" in engines
    path, spec = folder / "face_renderer.onnx", SPECS["face_renderer"]
    check(spec, spec.build(networks), path)
    graph, types = typed(path)
    floors = [types[node.input[0]] for node in graph.node if node.op_type == "Floor"]
    assert floors and set(floors) == {DOUBLE}  # between which pixels of the volume a place lies
    assert {types[n.input[0]] for n in graph.node if n.op_type in (*CONVOLUTIONS, "InstanceNormalization")} == {FLOAT}


def test_the_audio_and_the_motion_stay_as_they_are(networks: dict[str, nn.Module]) -> None:
    for name in ("audio2exp", "audio2pose", "motion", "face_reconstruction"):
        module = SPECS[name].build(networks)
        assert all(in_precision(SPECS[name], module, p) == (module, SPECS[name].tolerance) for p in ("fp16", "bf16"))


def test_halving_leaves_the_original_alone(networks: dict[str, nn.Module]) -> None:
    spec = SPECS["appearance_encoder"]
    module = spec.build(networks)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    halved = HalfPrecision(module, spec.half)
    assert any(p.dtype == torch.float16 for p in halved.parameters())
    assert all(p.dtype == torch.float32 for p in halved.module.keypoint_detector.parameters())
    after = module.state_dict()
    assert all(after[key].dtype == before[key].dtype and torch.equal(after[key], before[key]) for key in before)


# The gate.


@torch.no_grad()
def test_rounding_each_result_is_half_arithmetic() -> None:
    a = torch.linspace(1, 3, 64).half()
    with precision_engines.RoundEachResult():
        product, total, mixed = a * a, a + 1e-4, a * torch.ones(64)
    assert torch.equal(product, (a.double() ** 2).half()) and torch.equal(total, a)
    assert mixed.dtype == torch.float32
    with precision_engines.RoundEachResult():
        assert torch.isinf(a.new_full((1,), 300.0) * 300).all()  # beyond 65504


@pytest.fixture(scope="module")
def exact(networks: dict[str, nn.Module]) -> list[Frames]:
    return clips(precision_engines.eager(networks, gate.REDUCED), networks)


@torch.no_grad()
def clips(engine: precision_engines.Engine, networks: dict[str, nn.Module]) -> list[Frames]:
    image = gate.face_crop(gate.PORTRAIT)
    parts = (slice(64), slice(64, 67))
    return [gate.render(engine, networks["motion"], image, gate.coefficient_windows(1, part)) for part in parts]


@pytest.mark.parametrize("precision", precision_engines.ENGINES)
def test_tiny_frames_survive_reduced_precision(
    precision: str, engines: dict[str, precision_engines.Engine], networks: dict[str, nn.Module], exact: list[Frames]
) -> None:
    speaking, turning = clips(engines[precision], networks)
    values = compare((exact[0], speaking), (exact[1], turning))
    assert failing(values) == set(), values


@torch.no_grad()
def test_the_form_of_wide_networks_in_bf16_keeps_trained_frames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(for_cpu, "WORTHWHILE", 0)  # the demo's are narrow
    monkeypatch.setattr(for_cpu, "WORTHWHILE_DEEP", 0)
    networks = loading.load_weights("demo")[1]
    exact = clips(precision_engines.eager(networks, gate.REDUCED), networks)
    other = clips(precision_engines.bfloat(networks, gate.REDUCED, tmp_path), networks)
    values = compare((exact[0], other[0]), (exact[1], other[1]))
    assert failing(values) == set(), values
    graph, types = typed(tmp_path / "face_renderer.onnx")
    producers = {output: node for node in graph.node for output in node.output}
    grids = [producers[node.input[1]] for node in graph.node if node.op_type == "GridSample"]
    assert len(grids) == 3  # of the volume twice, and of the portrait itself
    for cast in grids:
        assert cast.op_type == "Cast" and types[cast.input[0]] == DOUBLE


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Frames]:
    """Render with the command: by clip in fp32, and with "reduced" before it in the precision asked for."""
    shown = {"speaking": SPEAKING, "turning": TURNING, "reduced speaking": SPEAKING, "reduced turning": TURNING}

    def render(engine: object, _motion: nn.Module, _image: Tensor, windows: Tensor) -> Frames:
        name = "speaking" if windows[..., :64, :].any() else "turning"
        return shown[name if engine == "exact" else f"reduced {name}"]

    monkeypatch.setattr(verdict, "render", render)
    monkeypatch.setattr(verdict, "eager", lambda *_: "exact")
    monkeypatch.setitem(verdict.ENGINES, "fp16", lambda *_: "reduced")
    return shown


COMMAND = ["precision", "--weights", "tiny", "--precision", "fp16"]


def test_the_command_judges_trained_weights(
    rendered: dict[str, Frames], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "is_synthetic", lambda _: False)
    assert main(COMMAND) == 0
    rendered["reduced speaking"] = SPEAKING[:1].repeat(12, 0)
    assert main(COMMAND) == 1
    assert "over" in capsys.readouterr().out


def test_the_command_only_reports_synthetic_weights(
    rendered: dict[str, Frames], capsys: pytest.CaptureFixture[str]
) -> None:
    rendered["reduced speaking"] = SPEAKING[:1].repeat(12, 0)
    assert main(COMMAND) == 0
    output = capsys.readouterr().out
    assert "synthetic" in output and "over" not in output


def test_synthetic_weights_are_known(networks: dict[str, nn.Module]) -> None:
    assert gate.is_synthetic(networks)
    trained = {"appearance_encoder": type(networks["appearance_encoder"])(PRESETS["tiny"].face_renderer.appearance)}
    assert not gate.is_synthetic(trained)


def test_what_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--frames", "4"]) == 2
    assert main([*COMMAND, "--portrait", str(tmp_path / "nobody.jpg")]) == 2
    lines = capsys.readouterr().err.splitlines()
    frames, portrait = (line for line in lines if line.startswith("sadtalker-export: "))  # the rest is progress
    assert "expected at least 5, got 4" in frames and "expected a picture" in portrait


def test_the_bf16_file_is_what_its_configuration_names() -> None:
    config = Path(__file__).parents[2] / "model_repository" / "face_renderer" / "configs" / "bf16.pbtxt"
    assert f'default_model_filename: "{BF16_MODEL}"' in config.read_text()


@pytest.mark.parametrize("precision", exporting.PRECISIONS)
def test_an_export_records_its_precision(
    precision: str, networks: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, str] = {}

    def write(spec: NetworkSpec, _module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(spec.name.encode())
        written[f"{spec.name}/{path.stem}"] = metadata["precision"]

    monkeypatch.setattr(exporting, "export", write)
    monkeypatch.setattr(exporting, "check", lambda *_: None)
    for name in SPECS:
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").touch()
    bf16 = tmp_path / "face_renderer" / "1" / BF16_MODEL
    bf16.write_bytes(b"of an earlier export")
    (tmp_path / "face_enhancer" / "1").mkdir(parents=True)
    enhancer = tmp_path / "face_enhancer" / "1" / "model.onnx"
    enhancer.write_bytes(b"of an earlier export with its weights")
    with progress(Console(quiet=True)) as bar:
        exporting.export_repository(networks, "tiny", tmp_path, bar, precision)
    manifest = read_manifest(tmp_path)
    assert manifest.precision == precision
    assert not enhancer.exists() and manifest.models.keys() == SPECS.keys()
    assert bf16.is_file() == (precision == "bf16") == (BF16_MODEL in manifest.models["face_renderer"])
    assert {written[f"{name}/model.onnx"] for name in SPECS} == {"fp16" if precision == "fp16" else "fp32"}
    assert written.get("face_renderer/model_bf16.onnx") == ("bf16" if precision == "bf16" else None)

    def exports_again() -> bool:
        written.clear()
        with progress(Console(quiet=True)) as bar:
            exporting.export_repository(networks, "tiny", tmp_path, bar, precision)
        return bool(written)

    assert not exports_again()
    (tmp_path / "motion" / "1" / "model.onnx").write_bytes(b"cut")
    assert exports_again() and not exports_again()
    monkeypatch.setattr(exporting, "exporter_digest", lambda: "of another version")
    assert exports_again()
