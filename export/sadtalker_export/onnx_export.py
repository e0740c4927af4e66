"""`sadtalker-export onnx`: the networks as ONNX files, checked against PyTorch, installed where Triton finds them."""

import argparse
import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
from torch import nn

from .checkpoint import loading, synthetic
from .checkpoint.layout import CheckpointError
from .errors import CheckFailedError, UsageError
from .precision import DoublePlaces, HalfPrecision
from .presets import PRESETS, Preset
from .restoration_specs import SERVED_SPECS
from .specs import SIZE, SIZED, SIZES, SPECS, NetworkSpec, TensorSpec, at_size

OPSET = 18  # from 20 on GridSample spells its mode in a way that OpenVINO 2025 does not read
OFFICIAL = Path("weights/official")
MODEL, BF16_MODEL, MODEL_512 = "model.onnx", "model_bf16.onnx", "model_512.onnx"
ONLY_256 = {"face_enhancer"}  # networks that see rendered frames of no other size
PRECISIONS = ("fp32", "fp16", "bf16")
RECORD = "exported.json"  # what lies in a model repository, for those who start a server on it

Arrays = dict[str, npt.NDArray[np.generic]]


class ExportError(CheckFailedError):
    """An exported network does not compute what its PyTorch form does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo` for small trained networks "
        "that come along, or `tiny` for smaller made-up ones",
    )
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton model repository")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="fp32: for CPUs; fp16: half precision inside the networks that are worth it, for GPUs; bf16: fp32, and "
        "beside it what `sadtalker-server --model-config-name bf16` runs on a CPU (default: fp32)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES,
        default=SIZE,
        help="edge of the rendered picture, in pixels, by the checkpoint made for it; 512 is what "
        "`sadtalker-server --model-config-name 512` runs (default: 256)",
    )


def run(args: argparse.Namespace) -> int:
    if args.size != SIZE and args.precision == "bf16":
        raise UsageError(f"--precision bf16 goes with --size {SIZE}, got {args.size}")
    console = Console(stderr=True)
    with progress(console) as bar:
        loading_task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights, args.size)
        bar.update(loading_task, total=1, completed=1)
        exported = export_repository(networks, preset.name, args.repository, bar, args.precision, args.size)
    kind = f"{preset.name}, {args.size} pixels, {args.precision}"
    console.print(f"{len(exported)} networks ({kind}) in {args.repository}")
    return 0


def load_weights(name: str, size: int = SIZE) -> tuple[Preset, dict[str, nn.Module]]:
    """The networks that `--weights` names: `tiny`, `demo`, `official`, or a directory. Raises `CheckpointError`.

    Those that find and restore faces are among them where their files are there. `tiny` has the enhancer, but no
    detectors: made-up ones find no face.
    """
    if name == "tiny":
        tiny = PRESETS["tiny"]
        networks = loading.synthetic_networks(tiny, image_size=size)
        return tiny, networks | loading.synthetic_networks(tiny, {"face_enhancer"})
    directory = {"official": OFFICIAL, "demo": loading.DEMO}.get(name, Path(name))
    preset, networks = loading.load_directory(directory, size)
    return preset, networks | loading.load_restoration(directory, preset)


def export_repository(
    networks: Mapping[str, nn.Module],
    preset: str,
    repository: Path,
    bar: Progress,
    precision: str = "fp32",
    size: int = SIZE,
) -> list[str]:
    """Export the networks into `<repository>/<name>/1`, in one of `PRECISIONS`, for one of `SIZES`; returns names.

    That is all of `SPECS`, and of `SERVED_SPECS` those whose `networks` are given; the others' files are removed.
    All files are made and checked beside their final places first; only then do they replace what was there.
    Nothing is done where the same export is there already.
    Raises `CheckpointError` if the repository lacks a model, `ExportError` if a file computes something else.
    """
    specs = [
        at_size(spec, size)
        for spec in SERVED_SPECS.values()
        if spec.name in SPECS or (spec.networks <= networks.keys() and (size == SIZE or spec.name not in ONLY_256))
    ]
    for spec in specs:
        if not (repository / spec.name / "config.pbtxt").is_file():
            raise CheckpointError(f"{repository}: not the model repository: {spec.name}/config.pbtxt is missing")
    record = {
        "preset": preset,
        "weights": weights_digest(networks),
        "precision": precision,
        "size": str(size),
        "exporter": exporter_digest(),
    }
    if is_exported(repository, record, {spec.name for spec in specs}):
        (repository / RECORD).touch()
        return [spec.name for spec in specs]
    models: dict[str, dict[str, object]] = {}
    staged: list[tuple[Path, Path]] = []
    outdated: list[Path] = []  # what an earlier export of another kind may have left
    try:
        for spec in specs:
            module = spec.build(networks)
            folder = repository / spec.name / "1"
            folder.mkdir(parents=True, exist_ok=True)
            model = MODEL_512 if size != SIZE and spec.name in SIZED else MODEL
            files = {model: "fp16" if precision == "fp16" else "fp32"}
            if precision == "bf16" and spec.places:
                files[BF16_MODEL] = "bf16"
            outdated += [folder / name for name in {MODEL, BF16_MODEL, MODEL_512} - files.keys()]
            task = bar.add_task(f"exporting {spec.name}", total=2 * len(files))
            entries: dict[str, dict[str, object]] = {}
            for name, form in files.items():
                partial = folder / f"{name}.partial"
                staged.append((partial, folder / name))
                exported, tolerance = reduced(spec, module, form)
                export(spec, exported, partial, metadata={**record, "precision": form})
                bar.advance(task)
                check(spec, module, partial, tolerance)
                bar.advance(task)
                entries[name] = {"bytes": partial.stat().st_size, "sha256": _sha256(partial)}
            models[spec.name] = {**entries.pop(MODEL, {}), **entries}
        for partial, final in staged:
            partial.replace(final)
        for name in SERVED_SPECS.keys() - models.keys():
            outdated.append(repository / name / "1" / MODEL)
        for path in outdated:
            path.unlink(missing_ok=True)
    finally:
        for partial, _ in staged:
            partial.unlink(missing_ok=True)
    text = json.dumps({**record, "models": models}, indent=2) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=repository, delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)  # noqa: PTH101
    Path(file.name).replace(repository / RECORD)
    return list(models)


def is_exported(repository: Path, record: Mapping[str, str], names: set[str]) -> bool:
    """Whether the repository holds an export of these networks with this record, every file at its full size."""
    try:
        found = json.loads((repository / RECORD).read_text())
    except (OSError, ValueError):
        return False
    models = found.pop("models", {}) if isinstance(found, dict) else {}
    return (
        found == record
        and models.keys() == names
        and all(
            path.is_file() and path.stat().st_size == size
            for name, entry in models.items()
            for path, size in (
                (repository / name / "1" / file, part["bytes"])
                for file, part in {MODEL: entry, **entry}.items()
                if isinstance(part, dict) and "bytes" in part
            )
        )
    )


def reduced(spec: NetworkSpec, module: nn.Module, precision: str) -> tuple[nn.Module, float]:
    """The module as it is exported in a precision, and how far that file may be from the module itself."""
    if precision == "fp16" and spec.half:
        return HalfPrecision(module, spec.half), spec.half_tolerance
    if precision == "bf16" and spec.places:
        module = spec.for_cpu(module, precision) if spec.for_cpu else module
        return DoublePlaces(module, [t.name for t in spec.inputs], spec.places), spec.tolerance
    if precision == "fp32" and spec.for_cpu:
        return spec.for_cpu(module, precision), spec.tolerance
    return module, spec.tolerance


def export(spec: NetworkSpec, module: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write one network as one ONNX file; axis 0 of every tensor is the dynamic axis `batch`."""
    inputs = tuple(torch.from_numpy(sample(spec, tensor, 2)) for tensor in spec.inputs)
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes: tuple[object, ...] = tuple({0: batch} for _ in spec.inputs)
    if isinstance(module, HalfPrecision | DoublePlaces):
        shapes = (shapes,)  # they take *inputs
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision's absence, network after network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=[t.name for t in spec.inputs],
            output_names=[t.name for t in spec.outputs],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=f"sadtalker.{key}", value=value)
    onnx.save(model, path)


def check(spec: NetworkSpec, module: nn.Module, path: Path, tolerance: float | None = None) -> None:
    """Raise `ExportError` unless the file agrees with the module within the tolerance (default: the spec's)."""
    tolerance = spec.tolerance if tolerance is None else tolerance
    arrays = {t.name: sample(spec, t, 1) for t in spec.inputs}
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(a) for a in arrays.values()))
    expected = [t.numpy() for t in (outputs if isinstance(outputs, tuple) else (outputs,))]
    actual = session(path).run([t.name for t in spec.outputs], arrays)
    for tensor, want, got in zip(spec.outputs, expected, actual, strict=True):
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ExportError(
                f"{spec.name}.{tensor.name}: expected {want.dtype}{want.shape}, got {got.dtype}{got.shape}"
            )
        error = float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max())
        if not error <= tolerance:
            raise ExportError(f"{spec.name}.{tensor.name}: differs from PyTorch by {error:g}, tolerance {tolerance:g}")


def session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, which takes little memory rather than little time."""
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False  # they ask for 28 GB for the official renderer
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sample(spec: NetworkSpec, tensor: TensorSpec, batch: int) -> npt.NDArray[np.generic]:
    """Deterministic values for one input: [batch, *shape]."""
    values = synthetic.named_input(f"{spec.name}.{tensor.name}", (batch, *tensor.shape), tensor.low, tensor.high)
    return values.astype(tensor.dtype)


def weights_digest(networks: Mapping[str, nn.Module]) -> str:
    """SHA-256 over all weights: two exports of the same checkpoint have the same."""
    digest = hashlib.sha256()
    for name in sorted(networks):
        for key, value in sorted(networks[name].state_dict().items()):
            digest.update(f"{name}.{key}".encode())
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def exporter_digest() -> str:
    """SHA-256 over the sources of this package: another version may write other graphs."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    with Progress(SpinnerColumn(), "{task.description}", TimeElapsedColumn(), console=console) as bar:
        yield bar


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
