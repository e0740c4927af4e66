"""The variants of the model configurations, as Triton loads them: the models of `config.pbtxt` on other hardware."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import text_format
from sadtalker_export.restoration_specs import SERVED_SPECS
from sadtalker_export.specs import SPECS, at_size
from sadtalker_export.tensorrt.build import ALONE as ALONE_ENGINES
from sadtalker_runtime.animation import windows
from sadtalker_runtime.configurations.variants import NETWORKS, PICTURES, SIZED, VARIANTS
from sadtalker_runtime.version import VERSION
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "model_repository"
MODELS = sorted(path.parent.name for path in REPOSITORY.glob("*/config.pbtxt"))
FILES = {(path.parents[1].name, path.stem): path for path in sorted(REPOSITORY.glob("*/configs/*.pbtxt"))}
ON_GPU = [name for name in VARIANTS if not {"native", "bf16"} & set(name.split("-")) and name != "512"]
BY_ENGINE = [name for name in ON_GPU if "cuda" not in name]
ALONE = ["native", "512-native", "tensorrt-alone"]
# Of a model, as Triton's native backend reads them; `optional` is the launcher's.
NATIVE_PARAMETERS = {"intra_op_thread_count", "inter_op_thread_count", "execution_mode", "optional"}
OPENVINO_PARAMETERS = NATIVE_PARAMETERS | {"one_item_per_run"}  # and as the embedded server's stand-in does

Config = model_config_pb2.ModelConfig


def read(path: Path) -> Config:
    return text_format.Parse(path.read_text(), Config())


def served(model: str, variant: str | None) -> Config:
    """Return the configuration that Triton chooses."""
    return read(FILES.get((model, variant or ""), REPOSITORY / model / "config.pbtxt"))


def networks(variant: str | None) -> Iterator[tuple[str, Config]]:
    for model in MODELS:
        config = served(model, variant)
        if config.backend == "onnxruntime" or config.platform == "tensorrt_plan":
            yield model, config


def kinds(config: Config) -> set[str]:
    return {
        Config.DESCRIPTOR.file.message_types_by_name["ModelInstanceGroup"]
        .enum_types_by_name["Kind"]
        .values_by_number[group.kind]
        .name
        for group in config.instance_group
    }


def test_every_network_is_known_to_the_generator_and_no_other() -> None:
    assert {model for model, _ in networks(None)} == set(NETWORKS) == set(SERVED_SPECS)
    assert {variant for _, variant in FILES} == set(VARIANTS)


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_every_network_runs_where_the_variant_says_and_nowhere_else(variant: str | None) -> None:
    """A kind left open becomes the GPU where there is one, and the native backend appends every accelerator named."""
    expected = "KIND_GPU" if variant in ON_GPU else "KIND_CPU"
    for model, config in networks(variant):
        assert kinds(config) == {expected}, model
        accelerators = config.optimization.execution_accelerators
        if variant in ON_GPU:
            assert not accelerators.cpu_execution_accelerator, f"{model}: a CPU accelerator under a GPU kind"
        else:
            assert not accelerators.gpu_execution_accelerator, model
            assert ["openvino"] * ("native" not in (variant or "")) == [
                accelerator.name for accelerator in accelerators.cpu_execution_accelerator
            ], model


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_a_backend_reads_every_parameter_that_it_is_given(variant: str | None) -> None:
    """The native backend ignores what it does not know."""
    for model, config in networks(variant):
        native = variant in ON_GPU or "native" in (variant or "")
        assert set(config.parameters) <= (NATIVE_PARAMETERS if native else OPENVINO_PARAMETERS), model
        for accelerator in config.optimization.execution_accelerators.cpu_execution_accelerator:
            assert set(accelerator.parameters) <= {"precision"}
            assert bool(accelerator.parameters) == (variant == "bf16" and model in SIZED), model


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_the_tensors_batches_and_parameters_of_the_model(variant: str) -> None:
    for model in MODELS:
        plain, other = served(model, None), served(model, variant)
        if variant.startswith("512"):
            for tensor in (*plain.input, *plain.output):
                if tensor.name in PICTURES.get(model, ()):
                    tensor.dims[:] = [2 * side if side in (64, 256) else side for side in tensor.dims]
            if model in ("sadtalker", "sadtalker_live"):
                plain.parameters["size"].string_value = "512"
        plain.parameters.pop("one_item_per_run", None)
        other.parameters.pop("one_item_per_run", None)
        for field in ("name", "max_batch_size", "input", "output", "model_transaction_policy", "parameters"):
            assert getattr(plain, field) == getattr(other, field), f"{model}: {field}"
        if variant in ALONE and model in NETWORKS:
            assert not other.HasField("dynamic_batching"), f"{model}: requests could share a batch"
        else:
            assert plain.dynamic_batching == other.dynamic_batching, model


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("512")])
def test_pictures_of_512_pixels_have_all_the_models_that_they_pass_through(variant: str) -> None:
    for model in PICTURES:
        assert (model, variant) in FILES
    for name in SIZED:
        config, spec = served(name, variant), at_size(SPECS[name], 512)
        file = "model_512.plan" if variant in BY_ENGINE else "model_512.onnx"
        assert config.default_model_filename == file
        for fields, specs in ((config.input, spec.inputs), (config.output, spec.outputs)):
            assert {f.name: tuple(f.dims) for f in fields} == {t.name: t.shape for t in specs}
    assert served("sadtalker", variant).parameters["size"].string_value == "512"


@pytest.mark.parametrize("variant", ON_GPU)
def test_a_network_on_a_gpu_has_met_its_batch_sizes_before_it_is_ready(variant: str) -> None:
    for model, config in networks(variant):
        spec = SERVED_SPECS[model]
        sizes = [warmup.batch_size for warmup in config.model_warmup]
        assert sizes == list(NETWORKS[model].batches) == sorted(set(sizes)), model
        assert sizes[-1] == config.max_batch_size
        expected = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in config.input}
        for warmup in config.model_warmup:
            given = {name: (value.data_type, list(value.dims)) for name, value in warmup.inputs.items()}
            assert given == expected, model
        assert spec.tensorrt is not None
        assert (spec.tensorrt.min, spec.tensorrt.max) == (1, config.max_batch_size), model
        assert spec.tensorrt.opt in sizes, model


@pytest.mark.parametrize("variant", BY_ENGINE)
def test_an_engine_captures_exact_batch_sizes(variant: str) -> None:
    for model, config in networks(variant):
        assert config.platform == "tensorrt_plan" and not config.backend, model
        assert re.fullmatch(r"model(_512)?\.plan", config.default_model_filename), model
        cuda = config.optimization.cuda
        assert cuda.graphs and not cuda.output_copy_stream, "graphs are not used with a copy stream"
        assert [graph.batch_size for graph in cuda.graph_spec] == [w.batch_size for w in config.model_warmup]
        assert not [graph for graph in cuda.graph_spec if graph.HasField("graph_lower_bound")]
        (group,) = config.instance_group
        assert list(group.profile) == ["0", "1"] * (model in ALONE_ENGINES), model
        copies_much = NETWORKS[model].overlap
        assert (group.count == 2 or config.optimization.eager_batching) == copies_much, model
        whole = variant.split("-")[-1] in ("a100", "h100", "h200")
        assert group.count == (2 if whole and copies_much else 1), model


def test_clips_ask_for_captured_sizes() -> None:
    """All ranges of a long video but the last, which is as long as what is left."""
    step, longest = windows.POSE_CHUNK, windows.LONGEST_RANGE
    asked = {windows.FIRST_RANGE, *(step * 2**i for i in range(8) if step * 2**i <= longest)}
    graphs = served("audio2exp", "tensorrt").optimization.cuda.graph_spec
    assert {graph.batch_size for graph in graphs} == asked


def test_every_variant_says_what_it_is_for_and_who_wrote_it() -> None:
    for path in FILES.values():
        comments = [line for line in path.read_text().splitlines() if line.startswith("# ")]
        assert f"# Variant {path.resolve().stem}. " in "\n".join(comments), path
        assert "# Generated by `make generate` from config.pbtxt: do not edit." in comments, path


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_the_repository_says_which_release_it_belongs_to(variant: str | None) -> None:
    assert served("sadtalker", variant).parameters["version"].string_value == VERSION


def test_overlays_choose_variants_that_there_are() -> None:
    manifests = [path.read_text() for path in sorted((ROOT / "k8s").rglob("*.yaml"))]
    chosen = {name for text in manifests for name in re.findall(r"--model-config-name=(\S+)", text)}
    assert chosen == {"a100", "a100-mig", "h200"}
    assert chosen <= set(VARIANTS)
