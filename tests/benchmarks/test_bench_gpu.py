"""The benchmark on a GPU, as far as it can be tried without one: in fp32 on the CPU, in fp16 without values."""

import json
from collections.abc import Iterator
from pathlib import Path

import bench_gpu
import gpu_pipeline
import pytest
import torch
from gpu_pipeline import LAYOUTS, NETWORKS, UNCAPTURED, network
from sadtalker_export.checkpoint import loading
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import SPECS
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return loading.synthetic_networks(PRESETS["tiny"])


def test_a_whole_run_on_the_cpu(tmp_path: Path) -> None:
    options = ["--device", "cpu", "--preset", "tiny", "--batches", "5", "--seconds", "0", "--rounds", "1"]
    assert bench_gpu.main([*options, "--output", str(tmp_path)]) == 0
    assert (tmp_path / "bench_tiny_cpu.png").stat().st_size > 10_000
    result = json.loads((tmp_path / "bench_tiny_cpu.json").read_text())
    assert result["gpu"] is None and result["preset"] == "tiny" and result["versions"]["torch"]
    assert 0 < result["gflop_per_frame"]["ours"] < result["gflop_per_frame"]["original"]
    [ours], original = result["ours"], result["original"]["fp32"]
    assert (ours["precision"], ours["frames"]) == ("fp32", 5)
    assert ours["times_original"]["fp32"] == pytest.approx(original["ms_per_frame"] / ours["ms_per_frame"], rel=1e-2)
    for row in (ours, original):
        assert row["ms_per_frame"] > 0 and row["weights_gb"] > 0
        assert row["frames_per_second"] == pytest.approx(1e3 / row["ms_per_frame"], rel=1e-2)
        assert row["ceiling_fraction"] == pytest.approx(row["tflops"] / result["ceiling_tflops"]["fp32"], abs=0.05)
    for recording in ("2_s", "60_s"):
        stages = dict(result["first_fragment_ms"][recording])
        total = stages.pop("total")
        assert list(stages) == ["portrait", "coefficients", "render", "encode"]
        assert all(value > 0 for value in stages.values()) and sum(stages.values()) == pytest.approx(total, rel=1e-2)
    assert result["psnr_db"]["ours_against_original_fp32"] > 60


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_gpu.main([]) == 2
    assert "--device cuda: expected an NVIDIA GPU that PyTorch can use, found none" in capsys.readouterr().err


def test_batches_are_whole_chunks(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_gpu.main(["--device", "cpu", "--batches", "5", "7"]) == 2
    assert "--batches: expected multiples of 5" in capsys.readouterr().err


def test_results_are_named_after_the_gpu() -> None:
    gpu = {"name": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0"}
    assert bench_gpu.slug("official", gpu) == "nvidia-h100-80gb-hbm3-sm90"
    assert bench_gpu.slug("tiny", None) == "tiny_cpu"


def test_a_missing_encoder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: str) -> None:
        raise ModuleNotFoundError("No module named 'av'", name="av")

    monkeypatch.setattr(bench_gpu.measures.importlib, "import_module", absent)
    assert bench_gpu.measures.encoded(torch.zeros(5, 256, 256, 3).byte().numpy(), bench_gpu.speech(2), 50) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_change_nothing(networks: dict[str, nn.Module], layout: str) -> None:
    features = torch.rand(1, 32, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, other = (
        network(networks, "face_renderer", "fp32", name).get_submodule("renderer.decoder")
        for name in ("contiguous", layout)
    )
    strided = sum(not p.is_contiguous() for p in other.parameters())
    assert (strided > 5) == (layout != "contiguous")
    assert other(features) == pytest.approx(plain(features), abs=1e-5)


HOST = {"tensor", "new_tensor", "as_tensor", "from_numpy", "item", "tolist", "cpu", "numpy", "nonzero", "__bool__"}


class HostWork(TorchFunctionMode):
    """Collects what no graph can capture: constants and tensors of the host, and values that it waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, answer)) if isinstance(x, torch.Tensor)}
        if func.__name__ in HOST or "cpu" in devices:
            self.found.add(func.__name__)
        return answer


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_captured_needs_no_host(networks: dict[str, nn.Module], name: str, precision: str) -> None:
    module = network(networks, name, precision, "channels_last").to("meta")
    inputs = [torch.empty(2, *t.shape, dtype=getattr(torch, t.dtype), device="meta") for t in SPECS[name].inputs]
    with HostWork() as work:
        outputs = module(*inputs)
    assert work.found == ({"new_tensor"} if name in UNCAPTURED else set())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    expected = [((2, *t.shape), getattr(torch, t.dtype)) for t in SPECS[name].outputs]
    assert [(tuple(o.shape), o.dtype) for o in outputs] == expected


def test_a_pipeline_launches_each_shape_once(networks: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[int, ...]] = []

    def recording(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> gpu_pipeline.Launch:
        launched.append(tuple(inputs[0].shape))
        return module

    monkeypatch.setattr(gpu_pipeline, "launcher", recording)
    pipeline = gpu_pipeline.Pipeline(networks, torch.device("cpu"), "fp32")
    face = torch.zeros(1, 3, 224, 224)
    for batch in (face, face, face.expand(2, -1, -1, -1)):
        pipeline.run("face_reconstruction", batch)
    assert launched == [(1, 3, 224, 224), (2, 3, 224, 224)]
