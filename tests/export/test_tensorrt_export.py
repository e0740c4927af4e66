"""Building TensorRT engines, with a fake TensorRT and a fake driver."""

import ctypes
import fcntl
import json
import sys
import threading
import time
from pathlib import Path

import fake_tensorrt
import onnx
import pytest
from fake_tensorrt import Script
from onnx import TensorProto, helper
from sadtalker_export.cli import main
from sadtalker_export.commands import tensorrt as command
from sadtalker_export.errors import UsageError
from sadtalker_export.specs import SIZED, SPECS, NetworkSpec, at_size
from sadtalker_export.tensorrt.build import ALONE, _Phases
from sadtalker_export.tensorrt.convolutions import Convolutions, mismatch, of_engine
from sadtalker_export.tensorrt.gpu import Gpu, current_gpu

SLICE = Gpu("NVIDIA A100-SXM4-80GB MIG 3g.40gb", (8, 0))
NETWORKS = [spec for spec in SPECS.values() if spec.tensorrt]


def graph(spec: NetworkSpec, half: bool, precision: str = "fp16") -> onnx.ModelProto:
    """Return a network of one convolution with the inputs of `spec`, as an export of that precision."""
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(t.name, kinds[t.dtype], ["batch", *t.shape]) for t in spec.inputs]
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes = [
        helper.make_node("Reshape", [spec.inputs[0].name, "shape"], ["row"]),
        helper.make_node("Cast", ["row"], ["typed"], to=kind),
        helper.make_node("Conv", ["typed", "weight"], ["convolved"], name="the_convolution"),
        helper.make_node("Cast", ["convolved"], ["answer"], to=TensorProto.FLOAT),
    ]
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [3], [0, 1, -1]),
        helper.make_tensor("weight", kind, [1, 1, 1], [1.0]),
    ]
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", 1, "n"])
    made = helper.make_graph(nodes, spec.name, inputs, [answer], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.metadata_props.add(key="sadtalker.precision", value=precision)
    return model


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for spec in NETWORKS:
        folder = tmp_path / "repository" / spec.name / "1"
        folder.mkdir(parents=True)
        onnx.save(graph(spec, half=True), folder / "model.onnx")
    return tmp_path / "repository"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Return an installed TensorRT 10 on a slice of an A100, and what it is asked to do."""
    script = Script()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module(script))
    monkeypatch.setattr(command, "current_gpu", lambda: SLICE)
    return script


def build(repository: Path, *arguments: str) -> int:
    cache = repository.parent / "cache"
    return main(["tensorrt", "--repository", str(repository), "--cache", str(cache), *arguments])


def plans(folder: Path) -> list[str]:
    return sorted(path.name.split("-batch")[0] for path in folder.rglob("*.plan"))


def test_every_engine_is_built_strongly_typed_within_its_batch_sizes(repository: Path, script: Script) -> None:
    assert build(repository) == 0
    assert [made["network"] for made in script.builds] == [spec.name for spec in NETWORKS]
    for made, spec in zip(script.builds, NETWORKS, strict=True):
        assert made["flags"] == 1 << fake_tensorrt.STRONGLY_TYPED
        assert made["verbosity"] == fake_tensorrt.DETAILED
        assert made["builder flags"] == set(), "TF32 would round the islands of single precision"
        assert spec.tensorrt is not None
        sizes = (spec.tensorrt.min, spec.tensorrt.opt, spec.tensorrt.max)
        first, *others = made["shapes"]
        assert first == {t.name: tuple((size, *t.shape) for size in sizes) for t in spec.inputs}
        assert len(others) == (spec.name in ALONE)
        for shapes in others:
            assert shapes == {t.name: ((1, *t.shape),) * 3 for t in spec.inputs}, "for the first chunk, which is alone"
        assert made["level"] == 3
        assert (repository / spec.name / "1" / "model.plan").is_file()


def test_levels_are_kept_apart_and_their_costs_noted(repository: Path, script: Script) -> None:
    for level in ("5", "2", "5"):
        assert build(repository, "--only", "face_renderer", "--optimization-level", level) == 0
    assert [made["level"] for made in script.builds] == [5, 2], "the third comes from the cache"
    [costs] = (repository.parent / "cache").rglob("builds.jsonl")
    noted = [json.loads(line) for line in costs.read_text().splitlines()]
    assert [(cost["network"], cost["level"], cost["profiles"]) for cost in noted] == [
        ("face_renderer", 5, 2),
        ("face_renderer", 2, 2),
    ]
    for cost in noted:
        assert cost["bytes"] == (costs.parent / cost["plan"]).stat().st_size and cost["seconds"] >= 0


def test_engines_for_512_pixels_are_built_from_their_files_beside_them(repository: Path, script: Script) -> None:
    """`sadtalker-export onnx --size 512` leaves model_512.onnx for the networks that know the size."""
    for name in SIZED:
        large = at_size(SPECS[name], 512)
        folder = repository / name / "1"
        (folder / "model.onnx").unlink()
        onnx.save(graph(large, half=True), folder / "model_512.onnx")
    assert build(repository) == 0
    for made, spec in zip(script.builds, NETWORKS, strict=True):
        at_512 = at_size(spec, 512)
        assert {name: shapes[0][1:] for name, shapes in made["shapes"][0].items()} == {
            t.name: t.shape for t in at_512.inputs
        }
        plan = "model_512.plan" if spec.name in SIZED else "model.plan"
        assert [path.name for path in (repository / spec.name / "1").glob("*.plan")] == [plan]


def test_tensorrt_11_needs_no_flag(repository: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script.version = "11.2.1.2"
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module(script))
    assert build(repository, "--only", "motion") == 0
    assert [(made["network"], made["flags"]) for made in script.builds] == [("motion", 0)]


def test_engines_are_kept_by_version_gpu_and_graph(repository: Path, script: Script) -> None:
    assert build(repository) == 0 and build(repository) == 0
    assert len(script.builds) == len(NETWORKS), "the second run finds all in the cache"
    (folder,) = (repository.parent / "cache").iterdir()
    assert folder.name == "10.13.3.9-nvidia-a100-sxm4-80gb-mig-3g.40gb-sm80"
    onnx.save(graph(SPECS["motion"], half=False), repository / "motion" / "1" / "model.onnx")
    assert build(repository) == 0
    assert script.builds[len(NETWORKS) :] != [] and script.builds[-1]["network"] == "motion"
    assert plans(folder).count("motion") == 2
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "no half-written file is left"


def test_a_build_begins_with_the_timings_of_the_ones_before(repository: Path, script: Script) -> None:
    assert build(repository, "--only", "motion", "audio2exp") == 0
    assert [made["timings"] for made in script.builds] == [b"", b"audio2exp;"]
    timings = next((repository.parent / "cache").rglob("timings.cache"))
    assert timings.read_bytes() == b"audio2exp;motion;"


def test_timings_of_another_gpu_are_left_aside(repository: Path, script: Script) -> None:
    folder = repository.parent / "cache" / f"{script.version}-{SLICE.key}"
    folder.mkdir(parents=True)
    (folder / "timings.cache").write_bytes(b"other GPU")
    assert build(repository, "--only", "motion") == 0
    assert script.builds[0]["timings"] == b""


def test_an_engine_that_looks_like_single_precision_is_used_with_a_warning(
    repository: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script.engine_type = "Float"
    assert build(repository, "--only", "face_renderer") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "warning: face_renderer: the graph has 1 of 1 convolutions in half precision" in told
    assert "the engine's inspector tells of 0 of 1" in told
    assert (repository / "face_renderer" / "1" / "model.plan").is_file()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_form_made_for_processors_is_refused_by_name(
    precision: str, repository: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("face_renderer", "motion"):
        onnx.save(graph(SPECS[name], half=False, precision=precision), repository / name / "1" / "model.onnx")
    assert build(repository) == build(repository, "--dry-run") == 2
    told = capsys.readouterr().err
    assert f"face_renderer/1/model.onnx: expected an export in fp16, got one in {precision}" in told
    assert "sadtalker-export onnx --precision fp16" in told and script.builds == []
    assert build(repository, "--only", "motion") == 0, "it has one form only"


def test_a_file_from_elsewhere_is_refused(repository: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    model = graph(SPECS["face_renderer"], half=True)
    del model.metadata_props[:]
    onnx.save(model, repository / "face_renderer" / "1" / "model.onnx")
    assert build(repository) == 2
    assert "got one in unknown precision" in capsys.readouterr().err


def test_a_graph_in_single_precision_may_become_such_an_engine(repository: Path, script: Script) -> None:
    script.engine_type = "Float"
    onnx.save(graph(SPECS["motion"], half=False), repository / "motion" / "1" / "model.onnx")
    assert build(repository, "--only", "motion") == 0


def test_what_the_parser_finds_is_told(repository: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.parse_errors = ("In node 3 (importGridSample): rank 5",)
    assert build(repository, "--only", "motion") == 1
    assert "cannot read it: In node 3 (importGridSample): rank 5" in capsys.readouterr().err


def test_why_a_build_failed_is_told(repository: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.build_error = "Could not find any implementation for node the_convolution"
    assert build(repository, "--only", "motion") == 1
    assert "built no engine: Could not find any implementation for node the_conv" in capsys.readouterr().err
    assert plans(repository.parent) == []


def test_nodes_that_tensorrt_refuses_are_named_before_the_build(
    repository: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    model = graph(SPECS["motion"], half=True)
    model.graph.node[2].op_type = "Det"
    onnx.save(model, repository / "motion" / "1" / "model.onnx")
    assert build(repository, "--dry-run") == 1
    assert "Det the_convolution: no such operator" in capsys.readouterr().err
    assert script.builds == []


def test_ctrl_c_ends_the_build_and_leaves_nothing(
    repository: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_Phases, "step", interrupted)
    assert build(repository, "--only", "motion") == 130
    assert len(script.builds) == 1 and plans(repository.parent) == []


@pytest.mark.parametrize("method", ["start", "step", "finish"])
def test_a_broken_display_does_not_end_the_build(
    method: str, repository: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no terminal")

    monkeypatch.setattr(_Phases, method, broken)
    assert build(repository, "--only", "motion") == 0
    assert (repository / "motion" / "1" / "model.plan").is_file()


def test_a_build_waits_for_the_lock_and_takes_what_its_holder_made(repository: Path, script: Script) -> None:
    assert build(repository, "--only", "motion") == 0
    installed = repository / "motion" / "1" / "model.plan"
    kept = next((repository.parent / "cache").rglob("motion-*.plan"))
    content = kept.read_bytes()
    kept.unlink()
    installed.unlink()
    codes: list[int] = []
    with (kept.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: codes.append(build(repository, "--only", "motion")))
        waiting.start()
        time.sleep(0.3)
        assert codes == [] and not installed.exists()
        kept.write_bytes(content)
    waiting.join(10)
    assert codes == [0] and installed.read_bytes() == content
    assert len(script.builds) == 1, "the one before the lock was held"


def test_without_tensorrt_the_plan_is_told_and_the_build_names_the_extra(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert build(repository, "--dry-run") == 0
    told = capsys.readouterr().out
    assert all(f"{spec.name}-batch" in told for spec in NETWORKS)
    assert "face_renderer-batch1-4-4-" in told and "1 of 1 convolutions in half precision" in told
    assert build(repository) == 2
    assert "pip install '.[tensorrt]'" in capsys.readouterr().err


def test_an_old_tensorrt_is_refused(
    repository: Path, script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script.version = "8.6.1"
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module(script))
    assert build(repository) == 2
    assert "TensorRT 8.6.1: expected 10 or 11" in capsys.readouterr().err


def test_a_missing_graph_is_told(repository: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "motion" / "1" / "model.onnx").unlink()
    assert build(repository) == 2
    assert "motion/1/model.onnx: not found; `sadtalker-export onnx` writes it" in capsys.readouterr().err


class Driver:
    """libcuda as `ctypes` gives it."""

    def __init__(self, status: int = 0) -> None:
        self.status = status

    def __getattr__(self, function: str):
        return getattr(self, f"_{function}")

    def _cuInit(self, flags: int) -> int:  # noqa: N802
        return self.status

    def _cuDeviceGet(self, device: object, ordinal: int) -> int:  # noqa: N802
        return 0

    def _cuDeviceGetName(self, name: ctypes.Array, length: int, device: object) -> int:  # noqa: N802
        name.value = SLICE.name.encode()
        return 0

    def _cuDeviceGetAttribute(self, value, attribute: int, device: object) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 0}[attribute]
        return 0


def test_the_gpu_is_asked_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert current_gpu() == SLICE
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(status=100))
    with pytest.raises(UsageError, match="cuInit fails with 100"):
        current_gpu()


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(UsageError, match="no NVIDIA driver"):
        current_gpu()


@pytest.mark.parametrize(
    ("layer", "half", "convolutions"),
    [
        ({"LayerType": "CaskConvolution", "Weights": {"Type": "Half", "Count": 9}}, 1, 1),
        (
            {"LayerType": "CaskDeconvolutionV2", "Weights": {"Type": "Float"}, "Inputs": [{"Format/Datatype": "Half"}]},
            0,
            1,
        ),
        ({"LayerType": "correlation", "Inputs": [{"Format": "Row major linear", "DataType": "Half"}]}, 1, 1),
        (
            {"LayerType": "x", "ParameterType": "Convolution", "Outputs": [{"Format/Datatype": "Channel major FP16"}]},
            1,
            1,
        ),
        ({"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Float"}]}, 0, 1),
        ({"LayerType": "kgen", "Name": "convolution_1", "Inputs": [{"Format/Datatype": "Half"}]}, 1, 1),
    ],
)
def test_precisions_are_read_as_both_versions_write_them(layer: dict, half: int, convolutions: int) -> None:
    assert of_engine([layer]) == Convolutions(half, convolutions)


def test_fusion_may_change_shares_a_little() -> None:
    assert mismatch("n", graph=Convolutions(30, 40), engine=Convolutions(16, 40)) is None
    told = mismatch("n", graph=Convolutions(30, 40), engine=Convolutions(14, 40))
    assert told is not None and "30 of 40" in told and "14 of 40" in told
