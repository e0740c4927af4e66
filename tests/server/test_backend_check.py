"""Checks of a repository and a tritonserver that do not fit, before or as it starts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sadtalker_runtime.version import VERSION, check_version
from sadtalker_server import LaunchError, Server
from sadtalker_server._backend_check import check_configurations
from sadtalker_server._installation import Installation

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository"
NETWORKS = "appearance_encoder", "face_renderer", "motion"


@pytest.fixture
def native(tmp_path: Path) -> Installation:
    """Return a tritonserver with Triton's own ONNX Runtime backend, built with OpenVINO."""
    backend = tmp_path / "backends" / "onnxruntime"
    backend.mkdir(parents=True)
    (backend / "libonnxruntime_providers_openvino.so").touch()
    return Installation(tmp_path / "bin" / "tritonserver", None, {})


def without_openvino(installation: Installation) -> Installation:
    (installation.binary.parents[1] / "backends" / "onnxruntime" / "libonnxruntime_providers_openvino.so").unlink()
    return installation


def test_a_native_backend_with_openvino_takes_the_plain_configurations(native: Installation) -> None:
    check_configurations(REPOSITORY, NETWORKS, None, native)
    check_configurations(REPOSITORY, NETWORKS, "native", native)


def test_a_native_backend_would_run_bf16_in_fp32(native: Installation) -> None:
    with pytest.raises(LaunchError, match=r"^appearance_encoder, face_renderer: .* ignores the precision .* embedded"):
        check_configurations(REPOSITORY, NETWORKS, "bf16", native)


def test_a_native_backend_without_openvino_needs_another_variant(native: Installation) -> None:
    plain = without_openvino(native)
    with pytest.raises(LaunchError, match=r"^appearance_encoder, .* was built without OpenVINO; use .* native \(CPU\)"):
        check_configurations(REPOSITORY, NETWORKS, None, plain)
    for variant in ("native", "cuda"):
        check_configurations(REPOSITORY, NETWORKS, variant, plain)


def test_the_stand_in_takes_every_variant_for_cpus(tmp_path: Path) -> None:
    embedded = Installation(tmp_path / "bin" / "tritonserver", tmp_path, {})
    for variant in (None, "bf16", "512"):
        check_configurations(REPOSITORY, NETWORKS, variant, embedded)


def test_engines_need_the_tensorrt_backend(tmp_path: Path) -> None:
    embedded = Installation(tmp_path / "bin" / "tritonserver", tmp_path, {})
    with pytest.raises(LaunchError, match=r"^appearance_encoder, face_renderer, motion: .* has no TensorRT backend"):
        check_configurations(REPOSITORY, NETWORKS, "a100", embedded)
    (tmp_path / "tensorrt").mkdir()
    check_configurations(REPOSITORY, NETWORKS, "a100", embedded)


def of_version(folder: Path, version: str | None) -> Path:
    """Return a repository of nothing but the model `sadtalker`, of another version."""
    shutil.copytree(REPOSITORY / "sadtalker", folder / "sadtalker", ignore=shutil.ignore_patterns("configs"))
    config = folder / "sadtalker" / "config.pbtxt"
    parameter = re.compile(r'parameters \{ key: "version" value: \{ string_value: "[^"]*" \} \}')
    replacement = "" if version is None else f'parameters {{ key: "version" value: {{ string_value: "{version}" }} }}'
    config.write_text(parameter.sub(replacement, config.read_text()))
    return folder


def test_a_repository_of_another_version_is_refused_before_the_start(tmp_path: Path) -> None:
    server = Server(of_version(tmp_path, "9.9.9"), tritonserver="embedded")
    with pytest.raises(LaunchError) as refusal, server:
        pass
    assert str(refusal.value) == (
        f"{tmp_path} belongs to version 9.9.9, sadtalker-server is version {VERSION}: "
        "use the model repository that came with this version"
    )
    assert server.exit_code is None, "tritonserver was started"


def test_the_model_refuses_a_repository_that_says_no_version(tmp_path: Path) -> None:
    """However tritonserver was started."""
    server = Server(of_version(tmp_path, None), tritonserver="embedded", start_timeout_secs=60)
    with pytest.raises(LaunchError, match=rf"the model repository's version is none, expected {VERSION}"), server:
        pass


def test_versions_that_agree_pass() -> None:
    check_version(VERSION)


@pytest.mark.parametrize("module", ["sadtalker_client._cli", "sadtalker_server.cli", "sadtalker_export.cli"])
def test_every_command_tells_its_version(module: str) -> None:
    command = [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\S+ \d+\.\d+\.\d+\S*\n", told)
