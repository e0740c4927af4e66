"""The networks of a checkpoint, exported into a Triton model repository."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress
from sadtalker_runtime.enhancers import ENHANCERS
from sadtalker_runtime.manifest import (
    BF16_MODEL,
    PORTABLE,
    ExportedFile,
    Manifest,
    ManifestError,
    read_manifest,
    write_manifest,
)
from torch import nn

from ..checkpoint.download import sha256
from ..checkpoint.layout import CheckpointError
from ..precision.forms import in_precision
from ..restoration_specs import SERVED_SPECS
from ..rewrites.parts import Choice, described
from ..specs import SIZE, SIZED, SPECS, NetworkSpec, at_size
from .check import check
from .dependencies import exporter_digest, weights_digest
from .graph import export

MODEL, MODEL_512 = "model.onnx", "model_512.onnx"
ONLY_256 = {enhancer.model for enhancer in ENHANCERS.values()}  # networks that take rendered frames of 256 pixels only
PRECISIONS = ("fp32", "fp16", "bf16")


def export_repository(
    networks: Mapping[str, nn.Module],
    preset: str,
    repository: Path,
    bar: Progress,
    precision: str = "fp32",
    size: int = SIZE,
    choices: Mapping[str, Choice] | None = None,
    gates: Mapping[str, bool] | None = None,
) -> list[str]:
    """Export networks into `<repository>/<name>/1`, in one of `PRECISIONS`, for one of `SIZES`; return their names.

    `choices` has the measured forms of layers by precision, `gates` the gate's verdicts on these weights: both go into
    the manifest. Without them the portable forms are exported.

    All of `SPECS` are exported, and those of `SERVED_SPECS` whose `networks` are given; files of the others are
    removed. Every file is written and checked under a temporary name before any replaces an earlier one. If the
    repository already holds this export, nothing is done.

    Raises `CheckpointError` if the repository lacks a model, `ExportError` if a file computes something else.
    """
    specs = _served(networks, size)
    for spec in specs:
        if not (repository / spec.name / "config.pbtxt").is_file():
            raise CheckpointError(f"{repository}: not the model repository: {spec.name}/config.pbtxt is missing")
    tactics = digest(choices) if choices else PORTABLE
    weights, exporter = weights_digest(networks), exporter_digest()
    wanted = Manifest(preset, weights, precision, size, exporter, models={}, tactics=tactics, gates=gates or {})
    names = [spec.name for spec in specs]
    if is_exported(repository, wanted, set(names)):
        found = read_manifest(repository)
        if found.gates != wanted.gates:
            write_manifest(repository, replace(found, gates=wanted.gates))
        return names
    staged: dict[Path, Path] = {}
    try:
        models = {spec.name: _stage(spec, networks, repository, wanted, choices or {}, staged, bar) for spec in specs}
        for partial, final in staged.items():
            partial.replace(final)
        for path in _outdated(repository, models):
            path.unlink(missing_ok=True)
    finally:
        for partial in staged:
            partial.unlink(missing_ok=True)
    write_manifest(repository, replace(wanted, models=models))
    return names


def is_exported(repository: Path, wanted: Manifest, names: set[str]) -> bool:
    """Return whether the repository holds the `wanted` export of these models, every file at its full size.

    The `models` and `gates` of `wanted` are ignored.
    """
    try:
        found = read_manifest(repository)
    except ManifestError:
        return False
    return (
        replace(found, models={}, gates={}) == replace(wanted, gates={})
        and found.models.keys() == names
        and found.is_complete(repository)
    )


def digest(choices: Mapping[str, Choice]) -> str:
    """Return a short digest of measured forms by precision: equal ones give equal graphs."""
    text = repr([(precision, described(choice)) for precision, choice in sorted(choices.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _served(networks: Mapping[str, nn.Module], size: int) -> list[NetworkSpec]:
    """Return the specs that can be exported from these networks for pictures of a size."""
    return [
        at_size(spec, size)
        for spec in SERVED_SPECS.values()
        if spec.name in SPECS or (spec.networks <= networks.keys() and (size == SIZE or spec.name not in ONLY_256))
    ]


def _stage(
    spec: NetworkSpec,
    networks: Mapping[str, nn.Module],
    repository: Path,
    wanted: Manifest,
    choices: Mapping[str, Choice],
    staged: dict[Path, Path],
    bar: Progress,
) -> dict[str, ExportedFile]:
    """Write and check the files of one network under temporary names, which `staged` maps to the final ones."""
    module = spec.build(networks)
    folder = repository / spec.name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    model = MODEL_512 if wanted.size != SIZE and spec.name in SIZED else MODEL
    names = [model, *([BF16_MODEL] if wanted.precision == "bf16" and spec.position_inputs else [])]
    task = bar.add_task(f"exporting {spec.name}", total=2 * len(names))
    files: dict[str, ExportedFile] = {}
    for name in names:
        precision = wanted.precision_of(name)
        partial = folder / f"{name}.partial"
        staged[partial] = folder / name
        exported, tolerance = in_precision(spec, module, precision, choices.get(precision))
        export(spec, exported, partial, metadata=wanted.provenance(name))
        bar.advance(task)
        check(spec, module, partial, tolerance)
        bar.advance(task)
        files[name] = ExportedFile(partial.stat().st_size, sha256(partial))
    return files


def _outdated(repository: Path, models: Mapping[str, Mapping[str, ExportedFile]]) -> list[Path]:
    """Return the files that an earlier export of another kind may have left."""
    return [
        repository / name / "1" / file
        for name in SERVED_SPECS
        for file in (MODEL, BF16_MODEL, MODEL_512)
        if file not in models.get(name, {})
    ]
