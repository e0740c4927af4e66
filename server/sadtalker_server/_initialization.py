"""Writes a model repository from what the packages carry: configurations, models' code, the demo's networks."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from sadtalker_runtime.bundle import BundleError, unpack
from sadtalker_runtime.manifest import MANIFEST, Manifest, ManifestError, read_manifest, write_manifest

from sadtalker_server._errors import LaunchError

_TEXTS = ("*/config.pbtxt", "*/configs/*.pbtxt", "*/1/model.py")
_NETWORKS = "*/1/model*.onnx"
_OURS = Path("sadtalker") / "config.pbtxt"  # written first: what has it is a repository of ours
_LISTED = 5  # of the files that differ, in a message


@dataclass(frozen=True)
class Initialized:
    """The outcome of `initialize`."""

    written: int
    """Files that were missing, or that differed and were replaced."""
    manifest: Manifest
    """The manifest of the networks that the repository holds now."""
    kept: bool
    """Whether these are not the ones of the packages, but had been exported into the repository before."""


def initialize(
    repository: Path, *, force: bool = False, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Initialized:
    """Write what is missing in `repository`: every configuration, and the demo's networks if it has none.

    Nothing that is there is changed or removed unless `force` is given: then files that differ from the packages' are
    replaced, and so are incomplete networks and other demo networks, but never complete ones of other weights. Where
    the demo's networks were exported for fewer precisions, the files of the others are added.

    Args:
        repository: a new or empty folder, or a repository that was written by this function or belongs to a checkout.
        force: whether to replace files that differ.
        on_progress: called with the number of files done and the number of all.

    Raises LaunchError where the folder holds something else, or files that differ; it is unchanged then.
    """
    _check_folder(repository)
    source, bundle = _packaged("sadtalker_server", "model_repository"), _packaged("sadtalker_runtime", "demo")
    try:
        demo = read_manifest(bundle)
    except ManifestError as error:
        raise LaunchError(f"this installation is incomplete: {error}") from error
    texts = {path.relative_to(source): path.read_bytes() for pattern in _TEXTS for path in source.glob(pattern)}
    ordered = sorted(texts, key=lambda path: (path != _OURS, path))
    differing = [path for path in ordered if _differs(repository / path, texts[path])]

    present = _present(repository)
    replaceable = present is None or (force and present.preset == demo.preset) or _completes(demo, present)
    networks = dict(demo.paths(repository)) if replaceable and present != demo else {}
    if present is None:
        unlisted = [p for p in repository.glob(_NETWORKS) if p not in networks or _digest(p) != networks[p].sha256]
        damaged = [repository / MANIFEST] if (repository / MANIFEST).exists() else []
        differing += [path.relative_to(repository) for path in [*damaged, *sorted(unlisted)]]
    if differing and not force:
        raise LaunchError(
            f"{repository} differs from what this version writes in {_count(differing)}: {_list(differing)}. "
            "Nothing was changed; --force replaces them, or take another folder"
        )

    total, done, written = len(ordered) + len(networks), 0, 0
    for path in ordered:
        written += _write(repository / path, texts[path])
        (repository / path.parts[0] / "1").mkdir(exist_ok=True)  # Triton wants a version, of an ensemble, too
        on_progress(done := done + 1, total)
    if networks:
        for path in set(repository.glob(_NETWORKS)) - networks.keys():
            path.unlink()
        (repository / MANIFEST).unlink(missing_ok=True)  # what is half written is not described
        try:
            for file in unpack(bundle, demo):
                written += _write(repository / file.model / "1" / file.name, file.content)
                on_progress(done := done + 1, total)
        except BundleError as error:
            raise LaunchError(f"this installation is incomplete: {error}") from error
        write_manifest(repository, demo)
        written += 1
    held = demo if present is None or replaceable else present
    return Initialized(written, held, kept=held != demo)


def _check_folder(repository: Path) -> None:
    if repository.exists() and not repository.is_dir():
        raise LaunchError(f"{repository} is a file; expected a folder, or a name for a new one")
    if repository.is_dir() and any(repository.iterdir()) and not (repository / _OURS).is_file():
        raise LaunchError(
            f"{repository} is neither empty nor a model repository of ours (it has no {_OURS}): "
            "give a new or an empty folder"
        )


def example(name: str) -> Path:
    """Return the path of an example that comes with the packages: `portrait.jpg` or `speech.wav`."""
    return _packaged("sadtalker_runtime", "examples") / name


def _packaged(package: str, name: str) -> Path:
    """Return a folder of a package's data."""
    folder = Path(str(files(package) / name))
    if not folder.is_dir():
        raise LaunchError(f"this installation is incomplete: {folder} is missing")
    return folder


def _present(repository: Path) -> Manifest | None:
    """Return the manifest of the networks in a repository; None where it has none or they are incomplete."""
    try:
        manifest = read_manifest(repository)
    except ManifestError:
        return None
    return manifest if manifest.is_complete(repository) else None


def _completes(demo: Manifest, present: Manifest) -> bool:
    """Return whether a repository has these very networks, and the packages their files for more precisions."""
    same = replace(present, precision=demo.precision, gates=demo.gates, models=demo.models) == demo
    return same and all(
        demo.models.get(model, {}).get(name) == entry
        for model, files in present.models.items()
        for name, entry in files.items()
    )


def _differs(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() != content


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _write(path: Path, content: bytes) -> bool:
    """Write a file unless it is there with this content; a reader sees the old one or the new one, never a part."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return True


def _count(paths: list[Path]) -> str:
    return "1 file" if len(paths) == 1 else f"{len(paths)} files"


def _list(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    return ", ".join([*names[:_LISTED], *(["..."] if len(names) > _LISTED else [])])
