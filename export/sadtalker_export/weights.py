"""`sadtalker-export weights`: the official checkpoint files, downloaded, or synthetic ones in the same layout."""

import argparse
from dataclasses import replace
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

from .download import RemoteFile, fetch, is_intact
from .errors import UsageError

SADTALKER = "https://github.com/OpenTalker/SadTalker/releases/download/v0.0.2-rc"
GFPGAN = "https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0"
FACEXLIB_0_1 = "https://github.com/xinntao/facexlib/releases/download/v0.1.0"
FACEXLIB_0_2 = "https://github.com/xinntao/facexlib/releases/download/v0.2.2"

# What the files are for -> where each is published, its size in bytes and its SHA-256.
CATALOGUE = {
    "256": (
        RemoteFile(
            f"{SADTALKER}/SadTalker_V0.0.2_256.safetensors",
            725066984,
            "c211f5d6de003516bf1bbda9f47049a4c9c99133b1ab565c6961e5af16477bff",
        ),
    ),
    "512": (
        RemoteFile(
            f"{SADTALKER}/SadTalker_V0.0.2_512.safetensors",
            725066984,
            "0e063f7ff5258240bdb0f7690783a7b1374e6a4a81ce8fa33456f4cd49694340",
        ),
    ),
    "motion": (
        RemoteFile(
            f"{SADTALKER}/mapping_00229-model.pth.tar",
            155521183,
            "62a1e06006cc963220f6477438518ed86e9788226c62ae382ddc42fbcefb83f1",
        ),
        RemoteFile(
            f"{SADTALKER}/mapping_00109-model.pth.tar",
            155779231,
            "84a8642468a3fcfdd9ab6be955267043116c2bec2284686a5262f1eaf017f64c",
        ),
    ),
    "enhancer": (
        RemoteFile(
            f"{GFPGAN}/GFPGANv1.4.pth", 348632874, "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad"
        ),
    ),
    "detectors": (
        RemoteFile(
            f"{FACEXLIB_0_1}/detection_Resnet50_Final.pth",
            109497761,
            "6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
        ),
        RemoteFile(
            f"{FACEXLIB_0_1}/alignment_WFLW_4HG.pth",
            193670248,
            "bbfd137307a4c7debd5c283b9b0ce539466cee417ac0a155e184d857f9f2899c",
        ),
        RemoteFile(
            f"{FACEXLIB_0_2}/parsing_parsenet.pth",
            85331193,
            "3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
        ),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--official", type=Path, metavar="DIR", help="download the published files into DIR")
    kind.add_argument("--synthetic", type=Path, metavar="DIR", help="write deterministic, meaningless weights into DIR")
    parser.add_argument(
        "--size", nargs="+", type=int, choices=(256, 512), default=[256], help="image sizes (default: 256)"
    )
    parser.add_argument(
        "--with",
        dest="extras",
        action="append",
        choices=("enhancer", "detectors"),
        default=[],
        help="also the face enhancer's or the face detectors' files; may be repeated",
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
        download(args.official, purposes, args.mirror)
    return 0


def catalogue(purposes: set[str], mirror: str | None = None) -> list[RemoteFile]:
    """The official files for some purposes ("256", "512", "motion", "enhancer", "detectors")."""
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UsageError(f"--mirror: expected a URL that begins with http:// or https://, got {mirror!r}")
    files = [file for purpose in CATALOGUE if purpose in purposes for file in CATALOGUE[purpose]]
    return [replace(file, url=f"{mirror.rstrip('/')}/{file.name}") if mirror else file for file in files]


def download(directory: Path, purposes: set[str], mirror: str | None = None) -> None:
    """Bring the official files into a directory; intact ones stay, others of their name are moved aside."""
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
    """Write the same files as `download` brings, of a preset, from deterministic values."""
    from .checkpoint import layout, loading, restoration_layout  # PyTorch, which a download does without
    from .presets import PRESETS

    known = (*layout.SADTALKER.values(), layout.MAPPING_CROP, layout.MAPPING_FULL, *restoration_layout.RESTORATION)
    layouts = {file.name: file for file in known}
    names = [file.name for file in catalogue(purposes)]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(None), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            loading.write_synthetic(directory, PRESETS[preset], layouts[name])
            progress.advance(task)
        progress.update(task, description=f"{len(names)} files of the {preset} preset in {directory}")
