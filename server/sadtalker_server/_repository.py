"""Checks, before tritonserver starts, that a model repository has all its exported networks, from one export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format  # type: ignore[import-untyped]
from sadtalker_runtime.configurations.variants import VARIANTS
from sadtalker_runtime.manifest import MANIFEST, ManifestError, read_manifest
from tritonclient.grpc import model_config_pb2

from sadtalker_server._errors import LaunchError


@dataclass(frozen=True)
class Repository:
    """The contents of a checked repository."""

    models: list[str]
    """Names of the models that can be loaded."""
    not_installed: list[str]
    """Names of the optional networks without a file, and of the ensembles that need one."""
    preset: str | None
    """Preset of the networks; None: it has none."""


def check_repository(path: Path, config_name: str | None) -> Repository:
    """Check the models of `path`, each under `configs/<config_name>.pbtxt` or, where it has none, `config.pbtxt`.

    A network whose configuration has the parameter `optional` may be without a file.

    Raises LaunchError, naming every network whose file is missing or differs from `exported.json`.
    """
    folders = sorted(config.parent for config in path.glob("*/config.pbtxt"))
    if not folders:
        raise LaunchError(
            f"{path} is no model repository: it has no <model>/config.pbtxt. To write one with small demo networks: "
            f"sadtalker-server init {path}; to serve another: sadtalker-server --model-repository DIR"
        )
    if config_name is not None and not any(
        (folder / "configs" / f"{config_name}.pbtxt").is_file() for folder in folders
    ):
        known = sorted({variant.stem for variant in path.glob("*/configs/*.pbtxt")})
        raise LaunchError(f"no model in {path} has a configuration '{config_name}': there are {known or 'none'}")

    configs = {folder.name: read_config(folder, config_name) for folder in folders}
    networks = {name: path / name / "1" / file for name, config in configs.items() if (file := _network_file(config))}
    not_installed = {
        name for name, file in networks.items() if "optional" in configs[name].parameters and not file.is_file()
    }
    for name, config in configs.items():
        if not_installed & {step.model_name for step in config.ensemble_scheduling.step}:
            not_installed.add(name)
    installed = {name: config for name, config in configs.items() if name not in not_installed}
    engines = [networks[name] for name, config in installed.items() if config.platform == "tensorrt_plan"]
    if missing := [str(engine) for engine in engines if not engine.is_file()]:
        raise LaunchError(
            f"no engine {', '.join(missing)}; run where the GPU is: sadtalker-export tensorrt --repository {path}"
        )
    onnx = {name: networks[name] for name, config in installed.items() if config.backend == "onnxruntime"}
    preset = _check_networks(path, onnx, config_name) if onnx else None
    return Repository(list(installed), sorted(not_installed), preset)


def link_models(repository: Path, models: list[str], folder: Path) -> None:
    """Make `folder` a model repository of only these models: Triton refuses to start over one without its file."""
    folder.mkdir()
    for name in models:
        (folder / name).symlink_to(repository / name)


def _network_file(config: Any) -> str | None:
    """Return the file that a network is loaded from, in its version's folder; None for other models."""
    if config.backend == "onnxruntime":
        return str(config.default_model_filename or "model.onnx")
    return str(config.default_model_filename or "model.plan") if config.platform == "tensorrt_plan" else None


def read_config(folder: Path, config_name: str | None) -> Any:
    """Return the ModelConfig that Triton chooses for the model in `folder`; raises LaunchError if it is none."""
    variant = folder / "configs" / f"{config_name}.pbtxt"
    file = variant if config_name is not None and variant.is_file() else folder / "config.pbtxt"
    try:
        return text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise LaunchError(f"{file} is no Triton model configuration: {error}") from error


def _check_networks(repository: Path, networks: dict[str, Path], config_name: str | None) -> str:
    manifest = repository / MANIFEST
    command = "run: sadtalker-export onnx --weights {} --repository " + str(repository)
    if not manifest.is_file():
        raise LaunchError(
            f"{manifest} is missing, so {', '.join(networks)} were not exported yet. Small demo networks: "
            f"sadtalker-server init {repository}; others: sadtalker-export onnx --weights DIR --repository {repository}"
        )
    try:
        exported = read_manifest(repository)
    except ManifestError as error:
        raise LaunchError(f"{error}; {command.format('demo')}") from error
    preset = exported.preset

    problems = []
    for name, file in networks.items():
        if name not in exported.models:
            problems.append(f"{name}: not among the networks of {MANIFEST} ({', '.join(exported.models) or 'none'})")
        elif (entry := exported.models[name].get(file.name)) is None:
            files = ", ".join(exported.models[name])
            problems.append(f"{name}: {file.name} is not among the files of {MANIFEST} ({files})")
        elif not file.is_file():
            problems.append(f"{name}: {file} is missing; {MANIFEST} has it with {entry.bytes} bytes (preset {preset})")
        elif (size := file.stat().st_size) != entry.bytes:
            problems.append(
                f"{name}: {file} has {size} bytes, {MANIFEST} says {entry.bytes} (preset {preset}): "
                "it comes from another export"
            )
    if problems:
        export = VARIANTS[config_name].export if config_name in VARIANTS else ""
        raise LaunchError("\n".join([*problems, f"{command.format(preset)} {export}".rstrip()]))
    return preset
