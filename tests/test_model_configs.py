"""The variants of the model configurations: the same models as `config.pbtxt`, on other hardware."""

import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from sadtalker_export.restoration_specs import SERVED_SPECS
from sadtalker_export.specs import SIZED, SPECS, at_size
from sadtalker_runtime.animation import windows
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "model_repository"
VARIANTS = {f"{p.parents[1].name}/{p.stem}": p for p in sorted(REPOSITORY.glob("*/configs/*.pbtxt"))}
MAPS = {  # tensors that are twice as large for pictures of 512 pixels
    "appearance_encoder": ("image", "appearance"),
    "encode_portrait": ("appearance",),
    "face_renderer": ("appearance", "frames"),
    "portrait_crop": ("face",),
    "render_frames": ("appearance", "frames"),
    "render_frames_full": ("appearance", "frames"),
}
ENGINES = {name for name, spec in SERVED_SPECS.items() if spec.tensorrt}


def read(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def model_of(variant: str) -> str:
    return variant.split("/")[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_the_tensors_and_batches_of_the_model(variant):
    plain, other = read(REPOSITORY / model_of(variant) / "config.pbtxt"), read(VARIANTS[variant])
    if variant.endswith("/512"):
        for tensor in (*plain.input, *plain.output):
            if tensor.name in MAPS.get(model_of(variant), ()):
                tensor.dims[:] = [2 * side if side in (64, 256) else side for side in tensor.dims]
    same = "name", "max_batch_size", "input", "output", "dynamic_batching", "model_transaction_policy"
    for field in same:
        assert getattr(plain, field) == getattr(other, field), field
    assert ("optional" in plain.parameters) == ("optional" in other.parameters)


def test_pictures_of_512_pixels_have_all_the_models_that_they_pass_through():
    assert {model_of(variant) for variant in VARIANTS if variant.endswith("/512")} == {
        *MAPS,
        "sadtalker",
        "sadtalker_live",
    }
    for name in SIZED:
        config, spec = read(VARIANTS[f"{name}/512"]), at_size(SPECS[name], 512)
        assert config.default_model_filename == "model_512.onnx"
        for fields, specs in ((config.input, spec.inputs), (config.output, spec.outputs)):
            assert {f.name: tuple(f.dims) for f in fields} == {t.name: t.shape for t in specs}
    for name in ("sadtalker", "sadtalker_live"):
        plain, other = read(REPOSITORY / name / "config.pbtxt"), read(VARIANTS[f"{name}/512"])
        plain.parameters["size"].string_value = "512"
        assert plain == other


def test_triton_and_the_model_give_up_a_silent_session_together():
    config = read(REPOSITORY / "sadtalker_live" / "config.pbtxt")
    idle = float(config.parameters["idle_seconds"].string_value)
    assert config.sequence_batching.max_sequence_idle_microseconds == idle * 1e6


@pytest.mark.parametrize("variant", [name for name in VARIANTS if read(VARIANTS[name]).platform == "tensorrt_plan"])
def test_an_engine_captures_and_warms_up_exact_batch_sizes(variant):
    config, spec = read(VARIANTS[variant]), SERVED_SPECS[model_of(variant)]
    assert config.default_model_filename == "model.plan" and not config.backend
    assert spec.tensorrt is not None and config.max_batch_size == spec.tensorrt.max
    assert all(group.kind == group.KIND_GPU and group.count >= 1 for group in config.instance_group)
    cuda = config.optimization.cuda
    assert cuda.graphs and not cuda.output_copy_stream, "graphs are not used with a copy stream"
    captured = [graph.batch_size for graph in cuda.graph_spec]
    assert captured == sorted(set(captured)) and spec.tensorrt.min <= captured[0]
    assert captured[-1] == spec.tensorrt.max and spec.tensorrt.opt in captured
    assert not [graph for graph in cuda.graph_spec if graph.HasField("graph_lower_bound")]
    assert [warmup.batch_size for warmup in config.model_warmup] == captured
    expected = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in config.input}
    for warmup in config.model_warmup:
        given = {name: (value.data_type, list(value.dims)) for name, value in warmup.inputs.items()}
        assert given == expected


def test_clips_ask_for_captured_sizes():
    """All ranges of a long video but the last, which is as long as what is left."""
    step, longest = windows.POSE_CHUNK, windows.LONGEST_RANGE
    asked = {windows.FIRST_RANGE, *(step * 2**i for i in range(8) if step * 2**i <= longest)}
    graphs = read(VARIANTS["audio2exp/tensorrt"]).optimization.cuda.graph_spec
    assert {graph.batch_size for graph in graphs} == asked


@pytest.mark.parametrize("name", ["tensorrt", "a100", "a100-mig"])
def test_a_variant_that_is_chosen_by_name_has_every_engine(name):
    """Triton falls back to `config.pbtxt` where a variant is absent."""
    assert {model_of(variant) for variant in VARIANTS if variant.endswith(f"/{name}")} == ENGINES


def test_overlays_choose_variants_that_there_are():
    manifests = [path.read_text() for path in sorted((ROOT / "k8s").rglob("*.yaml"))]
    chosen = {name for text in manifests for name in re.findall(r"--model-config-name=(\S+)", text)}
    assert chosen == {"a100", "a100-mig"}
    assert chosen <= {variant.split("/")[1] for variant in VARIANTS}
