"""Checks of a model repository before tritonserver starts."""

import re
from pathlib import Path

import pytest
import throwaway_repository as throwaway
from sadtalker_server import LaunchError, Server
from sadtalker_server._repository import check_repository

_COMMAND = "run: sadtalker-export onnx --weights tiny --repository {}"
_FIRST_COMMAND = _COMMAND.replace("tiny", "demo")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        throwaway.add_model(tmp_path, name, throwaway.doubling(), throwaway.DOUBLING_CONFIG)
    return tmp_path


def refusal(models: Path, model_config_name: str | None = None) -> str:
    """Return the error of a start that must not get as far as tritonserver."""
    server = Server(models, model_config_name=model_config_name)
    with pytest.raises(LaunchError) as failure, server:
        pass
    assert server.exit_code is None, "tritonserver was started"
    return str(failure.value)


def test_a_missing_network(models: Path) -> None:
    file = models / "two" / "1" / "model.onnx"
    size = file.stat().st_size
    file.unlink()
    assert refusal(models).splitlines() == [
        f"two: {file} is missing; exported.json has it with {size} bytes (preset tiny)",
        _COMMAND.format(models),
    ]


def test_a_network_of_another_export(models: Path) -> None:
    file = models / "one" / "1" / "model.onnx"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes() + b"\0")
    assert refusal(models).splitlines() == [
        f"one: {file} has {size + 1} bytes, exported.json says {size} (preset tiny): it comes from another export",
        _COMMAND.format(models),
    ]


def test_nothing_exported(models: Path) -> None:
    manifest = models / "exported.json"
    manifest.unlink()
    assert refusal(models) == (
        f"{manifest} is missing, so one, two were not exported yet. Small demo networks: sadtalker-server init "
        f"{models}; others: sadtalker-export onnx --weights DIR --repository {models}"
    )


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 2, "preset": "tiny", "models": {"one": {}}}'])
def test_a_broken_manifest(models: Path, text: str) -> None:
    (models / "exported.json").write_text(text)
    assert re.search(r"exported\.json cannot be read .*; " + re.escape(_FIRST_COMMAND.format(models)), refusal(models))


def test_a_manifest_of_an_earlier_version(models: Path) -> None:
    manifest = models / "exported.json"
    manifest.write_text('{"preset": "tiny", "weights": "", "models": {"one": {"bytes": 1, "sha256": ""}}}')
    assert refusal(models) == (
        f"{manifest} has format 1, expected 2: another version wrote it, export the networks again; "
        f"{_FIRST_COMMAND.format(models)}"
    )


def test_a_network_that_the_export_did_not_have(models: Path) -> None:
    (models / "one").rename(models / "three")
    assert refusal(models).startswith("three: not among the networks of exported.json (one, two)\n")


def test_a_broken_configuration(models: Path) -> None:
    file = models / "one" / "config.pbtxt"
    file.write_text('name: "one" max_batch: 4')
    assert re.match(
        re.escape(f"{file} is no Triton model configuration: ") + '.*no field named "max_batch"', refusal(models)
    )


OPTIONAL = 'parameters { key: "optional" value: { string_value: "true" } }'


def add_ensemble(models: Path) -> None:
    step = (
        '{ model_name: "two" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }'
    )
    tensors = throwaway.DOUBLING_CONFIG.partition("instance_group")[0]
    (models / "three" / "1").mkdir(parents=True)
    (models / "three" / "config.pbtxt").write_text(
        f'name: "three" platform: "ensemble" {tensors} ensemble_scheduling {{ step [ {step} ] }}'
    )


def test_an_optional_network_is_left_out_with_its_ensembles(models: Path) -> None:
    add_ensemble(models)
    config = models / "two" / "config.pbtxt"
    config.write_text(config.read_text() + OPTIONAL)
    assert check_repository(models, None).not_installed == []
    (models / "two" / "1" / "model.onnx").unlink()
    with Server(models, tritonserver="embedded", start_timeout_secs=60) as server:
        assert server.repository.models == ["one"]
        assert server.repository.not_installed == ["three", "two"]


def test_an_optional_engine_is_left_out(models: Path) -> None:
    (models / "two" / "configs").mkdir()
    (models / "two" / "configs" / "a100.pbtxt").write_text(f'name: "two" platform: "tensorrt_plan" {OPTIONAL}')
    assert check_repository(models, "a100").not_installed == ["two"]
    (models / "two" / "1" / "model.plan").touch()
    assert check_repository(models, "a100").models == ["one", "two"]


def test_an_optional_network_of_another_export_is_refused(models: Path) -> None:
    config = models / "two" / "config.pbtxt"
    config.write_text(config.read_text() + OPTIONAL)
    throwaway.remove_files(models, "two")
    assert refusal(models).startswith("two: not among the networks of exported.json (one)\n")


def test_no_repository(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path} is no model repository: it has no <model>/config.pbtxt. To write one with small demo networks: "
        f"sadtalker-server init {tmp_path}; to serve another: sadtalker-server --model-repository DIR"
    )


def test_an_unknown_variant(models: Path) -> None:
    variants = models / "one" / "configs"
    variants.mkdir()
    (variants / "a100.pbtxt").write_text('platform: "tensorrt_plan"')
    assert refusal(models, "a10") == f"no model in {models} has a configuration 'a10': there are ['a100']"


def test_a_variant_with_an_engine_needs_that_and_no_onnx_file(models: Path) -> None:
    variants = models / "one" / "configs"
    variants.mkdir()
    (variants / "a100.pbtxt").write_text('name: "one" platform: "tensorrt_plan"')
    for name in ("one", "two"):
        (models / name / "1" / "model.onnx").unlink()
    engine = models / "one" / "1" / "model.plan"
    assert refusal(models, "a100") == (
        f"no engine {engine}; run where the GPU is: sadtalker-export tensorrt --repository {models}"
    )
    engine.touch()
    text = refusal(models, "a100")
    assert "two: " in text and "one: " not in text


def test_a_variant_with_a_file_that_the_export_did_not_write(models: Path) -> None:
    variants = models / "one" / "configs"
    variants.mkdir()
    (variants / "bf16.pbtxt").write_text('name: "one" backend: "onnxruntime" default_model_filename: "model_bf16.onnx"')
    assert refusal(models, "bf16").splitlines() == [
        "one: model_bf16.onnx is not among the files of exported.json (model.onnx)",
        f"{_COMMAND.format(models)} --precision bf16",
    ]


def test_a_variant_with_a_file_of_its_own(models: Path) -> None:
    throwaway.enter_file(models / "one" / "1" / "model_bf16.onnx", size=3)
    variants = models / "one" / "configs"
    variants.mkdir()
    (variants / "bf16.pbtxt").write_text('name: "one" backend: "onnxruntime" default_model_filename: "model_bf16.onnx"')
    file = models / "one" / "1" / "model_bf16.onnx"
    assert f"one: {file} is missing; exported.json has it with 3 bytes" in refusal(models, "bf16")
    file.write_bytes(b"four")
    assert f"one: {file} has 4 bytes, exported.json says 3" in refusal(models, "bf16")
    file.write_bytes(b"two")
    assert check_repository(models, "bf16").models == ["one", "two"]


def test_an_export_that_wrote_nothing_but_a_file_of_its_own(models: Path) -> None:
    throwaway.remove_files(models, "one")
    throwaway.enter_file(models / "one" / "1" / "model_512.onnx", size=3)
    assert "one: model.onnx is not among the files of exported.json (model_512.onnx)" in refusal(models)
    variants = models / "one" / "configs"
    variants.mkdir()
    (variants / "512.pbtxt").write_text('name: "one" backend: "onnxruntime" default_model_filename: "model_512.onnx"')
    assert refusal(models, "512").splitlines()[-1] == f"{_COMMAND.format(models)} --size 512"
    (models / "one" / "1" / "model_512.onnx").write_bytes(b"two")
    assert check_repository(models, "512").models == ["one", "two"]
