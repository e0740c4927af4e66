"""The decoder in 8 bits: which layers are quantized, on what ranges, and what they lose."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sadtalker_export.checkpoint import loading
from sadtalker_export.cli import main
from sadtalker_export.commands.calibrate import ROUNDS, cpu_session, times_as_fast
from sadtalker_export.errors import UsageError
from sadtalker_export.precision import calibration, quantization
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import SPECS

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, SPEECH = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "speech.wav"
RANDOM = np.random.default_rng(0)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Write a graph: a convolution outside of the decoder, one and a transposed one within, then its last layer."""
    weights = {
        "renderer.project.weight": (8, 3, 3, 3),
        "renderer.decoder.stem.weight": (8, 8, 3, 3),
        "renderer.decoder.up.0.shared.weight": (8, 8, 4, 4),
        "renderer.decoder.to_rgb.weight": (3, 8, 3, 3),
    }
    tensors = [
        numpy_helper.from_array(RANDOM.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes, last = [], "x"
    for at, name in enumerate(weights):
        up = "shared" in name
        options = {"strides": [2, 2], "pads": [1] * 4} if up else {"pads": [1] * 4}
        kind = "ConvTranspose" if up else "Conv"
        nodes.append(helper.make_node(kind, [last, name], [f"y{at}"], name=f"node_{at}", **options))
        last = f"y{at}"
    shape = ["batch", 3, 16, 16]
    made = helper.make_graph(
        nodes,
        "renderer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", 3, 32, 32])],
        tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.metadata_props.add(key="sadtalker.precision", value="fp32")
    onnx.save(model, tmp_path / "wide.onnx")
    return tmp_path / "wide.onnx"


def feeds(count: int = 4) -> Iterator[calibration.Feed]:
    random = np.random.default_rng(1)
    return ({"x": random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(count))


def run(path: Path, feed: calibration.Feed) -> np.ndarray:
    return np.asarray(cpu_session(path).run(None, feed)[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [("int8", 0.02), ("fp8", 0.08)])
def test_only_the_decoder_is_quantized_and_loses_little(
    graph: Path, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    narrow = tmp_path / "narrow.onnx"
    assert quantization.quantize(graph, narrow, feeds(), dtype) == 2
    model = onnx.load(narrow)
    assert quantization.quantized_convolutions(model) == 2
    inputs = {node.name: node.input[1] for node in model.graph.node if node.op_type in quantization.KINDS}
    assert inputs["node_0"] == "renderer.project.weight" and inputs["node_3"] == "renderer.decoder.to_rgb.weight"
    assert {p.key: p.value for p in model.metadata_props} == {"sadtalker.precision": "fp32"}
    feed = next(feeds())
    expected, actual = run(graph, feed), run(narrow, feed)
    error = np.sqrt(((actual - expected) ** 2).mean() / (expected**2).mean())
    assert 0 < error < tolerance


def test_layers_can_be_kept_wide(graph: Path, tmp_path: Path) -> None:
    kept = [*quantization.KEPT, "renderer.decoder.up"]
    assert quantization.quantize(graph, tmp_path / "narrow.onnx", feeds(), "int8", kept) == 1
    with pytest.raises(UsageError, match="expected convolutions with weights named renderer"):
        quantization.layers(onnx.load(graph), ["renderer.decoder"])


def test_layers_are_known_where_positions_are_in_float64(graph: Path) -> None:
    model = onnx.load(graph)
    for tensor in model.graph.initializer:
        tensor.name = f"{quantization.WRAPPED}{tensor.name}"
    for node in model.graph.node:
        node.input[1] = f"{quantization.WRAPPED}{node.input[1]}"
    assert quantization.layers(model) == quantization.layers(onnx.load(graph)) == ["node_1", "node_2"]


def test_files_are_timed_in_turns(graph: Path) -> None:
    session, turns = cpu_session(graph), []

    class Turn:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, outputs: None, feed: calibration.Feed) -> None:
            turns.append(self.name)
            for _ in range(20 if self.name == "slow" else 1):
                session.run(outputs, feed)

    found = times_as_fast({"slow": Turn("slow"), "same": Turn("same")}, Turn("new"), next(feeds()))  # type: ignore[dict-item, arg-type]
    assert turns == ["slow", "same", "new"] * (1 + ROUNDS)
    assert set(found) == {"slow", "same"} and set(found["slow"]) == {"clock", "processor"}
    median, low, high = found["slow"]["clock"]
    assert low <= median <= high and median > 2
    assert times_as_fast({}, Turn("new"), next(feeds())) == {}  # type: ignore[arg-type]


def test_scales_are_symmetric_and_weights_have_one_per_channel(graph: Path, tmp_path: Path) -> None:
    quantization.quantize(graph, tmp_path / "narrow.onnx", feeds(), "int8")
    model = onnx.load(tmp_path / "narrow.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert nodes and all((values[node.input[2]] == 0).all() for node in nodes), "TensorRT takes no zero points"
    sizes = {node.input[0]: values[node.input[1]].size for node in nodes}
    assert {name: size for name, size in sizes.items() if name.startswith("renderer")} == {
        "renderer.decoder.stem.weight": 8,
        "renderer.decoder.up.0.shared.weight": 8,
    }
    assert all(size == 1 for name, size in sizes.items() if not name.startswith("renderer"))


def test_chunks_are_those_of_portraits_that_speak() -> None:
    networks = loading.synthetic_networks(PRESETS["tiny"])
    found = list(calibration.feeds(networks, [PORTRAIT], [SPEECH], 3))
    assert len(found) == 3
    for feed in found:
        assert {name: value.shape[1:] for name, value in feed.items()} == {
            tensor.name: tensor.shape for tensor in SPECS["face_renderer"].inputs
        }
        np.testing.assert_array_equal(feed["appearance"], found[0]["appearance"])
    assert np.abs(found[0]["driving_keypoints"] - found[2]["driving_keypoints"]).max() > 0, (
        "other moments of the speech"
    )


def test_what_cannot_be_calibrated_on_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["calibrate", "--weights", "tiny", "--output", str(tmp_path / "x.onnx"), "--portraits", str(PORTRAIT)]
    assert main([*options, "--recordings", str(tmp_path)]) == 2
    assert "expected recordings in this directory, found none" in capsys.readouterr().err
    assert main([*options, "--recordings", str(SPEECH), "--chunks", "0"]) == 2
    assert "--chunks: expected at least 1, got 0" in capsys.readouterr().err
    assert main([*options, "--recordings", str(SPEECH), "--dtype", "fp8", "--rest", "bf16"]) == 2
    assert "--rest bf16 goes with --dtype int8, got fp8" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()
