"""`sadtalker-export weights`: download the official checkpoint files, or write synthetic ones in the same layout."""

import argparse
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..checkpoint.catalogue import BY_HAND, catalogue
from ..checkpoint.download import fetch, is_intact
from ..errors import UsageError

EXTRAS = ("enhancer", "restoreformer", "background", "detectors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--official", type=Path, metavar="DIR", help="download the published files into DIR")
    kind.add_argument("--synthetic", type=Path, metavar="DIR", help="write deterministic, meaningless weights into DIR")
    parser.add_argument(
        "--size", nargs="+", type=int, choices=(256, 512), default=[256], help="picture sizes, in pixels (default: 256)"
    )
    parser.add_argument(
        "--with",
        dest="extras",
        action="append",
        choices=EXTRAS,
        default=[],
        help="also the files of GFPGAN, RestoreFormer, Real-ESRGAN or the face detectors; may be repeated",
    )
    parser.add_argument("--mirror", metavar="URL", help="download URL/<file name> instead of the published releases")
    parser.add_argument(
        "--preset", choices=("official", "tiny"), help="sizes of the synthetic networks (default: official)"
    )


def run(args: argparse.Namespace) -> int:
    purposes = {"motion", *map(str, args.size), *args.extras}
    if args.synthetic:
        if args.mirror:
            raise UsageError("--mirror goes with --official, not with --synthetic")
        write_synthetic_files(args.synthetic, purposes, args.preset or "official")
    else:
        if args.preset:
            raise UsageError("--preset goes with --synthetic: the official files have one size")
        for purpose, url in BY_HAND.items():
            if purpose in purposes:
                raise UsageError(
                    f"--with {purpose}: the SHA-256 of {url} is not known here, so that it is not downloaded; put it "
                    f"into {args.official} yourself: the export checks the name and shape of every tensor"
                )
        download(args.official, purposes, args.mirror)
    return 0


def download(directory: Path, purposes: set[str], mirror: str | None = None) -> None:
    """Download the official files into a directory; keep intact ones, move others of the same name aside."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    files = catalogue(purposes, mirror)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = {file: progress.add_task(file.name, total=file.size) for file in files}
        for file, task in tasks.items():
            path = directory / file.name
            if path.exists():
                if is_intact(path, file):
                    progress.update(task, completed=file.size)
                    progress.console.print(f"{file.name}: already there, intact")
                    continue
                rejected = path.replace(path.with_name(path.name + ".rejected"))
                progress.console.print(f"{file.name}: not the published file, moved to {rejected.name}")
            fetch(file, directory, partial(_show, progress, task))


def _show(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


def write_synthetic_files(directory: Path, purposes: set[str], preset: str) -> None:
    """Write the files that `download` brings, of a preset, with deterministic values."""
    from ..checkpoint import (
        layout,
        loading,
        restoration_layout,  # they import PyTorch, which a download does not need
    )
    from ..presets import PRESETS

    known = (*layout.SADTALKER.values(), layout.MAPPING_CROP, layout.MAPPING_FULL, *restoration_layout.RESTORATION)
    layouts = {file.name: file for file in known}
    names = [file.name for file in catalogue(purposes)]
    names += [url.rpartition("/")[2] for purpose, url in BY_HAND.items() if purpose in purposes]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(None), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            loading.write_synthetic(directory, PRESETS[preset], layouts[name])
            progress.advance(task)
        progress.update(task, description=f"{len(names)} files of the {preset} preset in {directory}")
