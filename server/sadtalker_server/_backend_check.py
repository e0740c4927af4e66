"""Checks, before tritonserver starts, that it can honour the configurations: its backends, and the runtime's version.

Triton's native ONNX Runtime backend ignores parameters that it does not know, refuses accelerators that it was built
without, and its messages do not name the cause.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sadtalker_runtime.version import VERSION

from sadtalker_server._errors import LaunchError
from sadtalker_server._installation import Installation
from sadtalker_server._repository import read_config

_OPENVINO_LIBRARY = "libonnxruntime_providers_openvino.so"


def check_configurations(
    repository: Path, models: Iterable[str], config_name: str | None, installation: Installation
) -> None:
    """Check the configurations of these models against the tritonserver that will load them.

    Raises:
        LaunchError: the repository belongs to another version, or a backend would ignore or refuse what a
            configuration asks for; the message says what to choose instead.
    """
    configs = {name: read_config(repository / name, config_name) for name in models}
    _check_version(repository, configs.get("sadtalker"))
    backends = installation.backends or installation.binary.parent.parent / "backends"
    engines = [name for name, config in configs.items() if config.platform == "tensorrt_plan"]
    if engines and not (backends / "tensorrt").is_dir():
        raise LaunchError(
            f"{', '.join(engines)}: {installation.binary} has no TensorRT backend; use the container image "
            "(k8s/image), or another --model-config-name"
        )
    if installation.backends is None:
        _check_native(backends / "onnxruntime", configs)


def _check_version(repository: Path, config: Any) -> None:
    """Leave a configuration without a version to the model, which knows whether it needs one."""
    found = config.parameters["version"].string_value if config and "version" in config.parameters else VERSION
    if found != VERSION:
        raise LaunchError(
            f"{repository} belongs to version {found}, sadtalker-server is version {VERSION}: "
            "use the model repository that came with this version"
        )


def _check_native(backend: Path, configs: dict[str, Any]) -> None:
    openvino = {
        name: accelerator
        for name, config in configs.items()
        if config.backend == "onnxruntime"
        for accelerator in config.optimization.execution_accelerators.cpu_execution_accelerator
        if accelerator.name == "openvino"
    }
    if openvino and not (backend / _OPENVINO_LIBRARY).is_file():
        raise LaunchError(
            f"{', '.join(openvino)}: {backend} was built without OpenVINO; use --model-config-name native (CPU), "
            "cuda or tensorrt (GPU)"
        )
    reduced = [name for name, accelerator in openvino.items() if "precision" in accelerator.parameters]
    if reduced:
        raise LaunchError(
            f"{', '.join(reduced)}: {backend} ignores the precision that the configuration asks OpenVINO for, and "
            "would run the bf16 file in fp32, several times slower; use --tritonserver embedded, or another "
            "--model-config-name"
        )
