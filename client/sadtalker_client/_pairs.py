"""Which portraits a batch animates with which recordings, and the files that their videos become."""

import csv
import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._exceptions import InvalidInputError

# What is taken from a folder; a file that is named itself may be called anything.
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
RECORDINGS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4")

_COLUMNS = ("portrait", "speech", "output")


@dataclass(frozen=True)
class Pair:
    """One video of a batch: its portrait, its recording (None where an option moves the portrait), its file."""

    portrait: Path
    speech: Path | None
    output: Path


def every_pair(portraits: Sequence[str], speeches: Sequence[str], folder: Path) -> list[Pair]:
    """Return every portrait with every recording, to be written into `folder` as PORTRAIT+SPEECH.mp4.

    Each of `portraits` and `speeches` is a file, a folder (its pictures or recordings) or a glob pattern. Without
    recordings, every portrait makes one video, PORTRAIT.mp4.

    Raises InvalidInputError if one of them is nothing, or two videos would have the same name.
    """
    pictures = _found("portraits", portraits, PICTURES)
    recordings: list[Path | None] = [*_found("speech", speeches, RECORDINGS)] or [None]
    return _distinct([_pair(picture, speech, folder) for picture in pictures for speech in recordings])


def listed_pairs(file: Path, folder: Path) -> list[Pair]:
    """Return the pairs of a list: CSV with the columns portrait, speech and, if wished, output; or JSON lines (.jsonl).

    Paths are relative to the list's own folder, outputs to `folder`. A speech may be empty or missing.

    Raises InvalidInputError with the line at fault.
    """
    pairs = []
    for line, row in _rows(file):
        where = f"{file}, line {line}"
        if unknown := sorted(str(name) for name in row.keys() - set(_COLUMNS)):
            raise InvalidInputError(f"{where}: expected {', '.join(_COLUMNS)}, got {', '.join(unknown)}")
        if not all(value is None or isinstance(value, str) for value in row.values()):
            raise InvalidInputError(f"{where}: expected texts, got {json.dumps(row)}")
        if not row.get("portrait"):
            raise InvalidInputError(f"{where}: expected a portrait, got none")
        portrait = file.parent / row["portrait"]
        speech = file.parent / row["speech"] if row.get("speech") else None
        for path in (portrait, speech):
            if path is not None and not path.is_file():
                raise InvalidInputError(f"{where}: expected a file, found none at {path}")
        pair = _pair(portrait, speech, folder)
        pairs.append(Pair(portrait, speech, folder / row["output"]) if row.get("output") else pair)
    if not pairs:
        raise InvalidInputError(f"{file}: expected a line per video, got none")
    return _distinct(pairs)


def _found(name: str, arguments: Sequence[str], suffixes: tuple[str, ...]) -> list[Path]:
    found: dict[Path, None] = {}  # a set that keeps the order
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in suffixes and entry.is_file())
            if not files:
                raise InvalidInputError(f"{name}: expected {', '.join(suffixes)} in the folder {path}, found none")
        elif path.is_file():
            files = [path]
        else:
            names = glob.glob(argument, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
            files = sorted(entry for entry in map(Path, names) if entry.is_file())
            if not files:
                raise InvalidInputError(f"{name}: expected a file, a folder or a pattern, found nothing at {argument}")
        found.update(dict.fromkeys(files))
    return list(found)


def _pair(portrait: Path, speech: Path | None, folder: Path) -> Pair:
    name = portrait.stem if speech is None else f"{portrait.stem}+{speech.stem}"
    return Pair(portrait, speech, folder / f"{name}.mp4")


def _distinct(pairs: list[Pair]) -> list[Pair]:
    seen: dict[Path, Pair] = {}
    for pair in pairs:
        other = seen.setdefault(pair.output, pair)
        if other is not pair:
            raise InvalidInputError(
                f"output: expected different names, but {_named(other)} and {_named(pair)} both become {pair.output}; "
                "a list (--pairs) can name outputs"
            )
    return pairs


def _named(pair: Pair) -> str:
    return f"{pair.portrait} with {pair.speech}" if pair.speech else str(pair.portrait)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row of the list and the number of its line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            if file.suffix.lower() == ".jsonl":
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, _json_object(file, number, line)
            else:
                reader = csv.DictReader(lines, restkey="more columns than the first line")
                yield from ((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"pairs: cannot read {file}: {error}") from error


def _json_object(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{file}, line {number}: expected JSON: {error}") from error
    if not isinstance(row, dict):
        raise InvalidInputError(f"{file}, line {number}: expected an object, got {line.strip()[:80]}")
    return row
