"""Reads a plan: the clips, the candidates and the judgements of a comparison, a TOML file.

[[clip]]
name = "sentence"
portrait = "portrait.jpg"                 # paths are relative to the plan
speech = "speech.wav"

[[candidate]]
name = "ours"
repository = "model_repository"           # starts a server on it; variant = "..." names a configuration
options = { seed = 1 }                    # of `client.animate`
given = { longest_clip = 600, licence = 4 }

[[candidate]]
name = "running"
server = "127.0.0.1:8001"                 # a server that runs already

[[candidate]]
name = "another"
videos = "videos"                         # made elsewhere: <clip>.mp4; what cannot be measured is `given`

[judgements.groups]                       # optional: how much more the first matters, 1/9 to 9 (Saaty's scale)
"credibility / performance" = 3
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sadtalker_compare.criteria import NAMES
from sadtalker_compare.errors import ComparisonError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = ("repository", "server", "videos")
Judgements = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Clip:
    """A portrait and what it says."""

    name: str
    portrait: Path
    speech: Path


@dataclass(frozen=True)
class Candidate:
    """A system that is compared, or a variant of one."""

    name: str
    kind: str
    """One of `KINDS`."""
    source: str
    """A folder, or the address of a server."""
    variant: str | None = None
    """Name of a configuration of the models, for a `repository`."""
    photos: tuple[Path, ...] = ()
    """Further photos of the person, sent with every portrait."""
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, float] = field(default_factory=dict)
    """Values of criteria, by hand; they win over measured ones."""


@dataclass(frozen=True)
class Plan:
    """A comparison to be made."""

    clips: tuple[Clip, ...]
    candidates: tuple[Candidate, ...]
    judgements: Judgements


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ComparisonError: it cannot be read.
    """
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ComparisonError(f"{path}: expected a TOML file, got {error}") from error
    return document


def read_plan(path: Path) -> Plan:
    """Read a plan and check all of it, so that no server is started for an invalid one.

    Raises:
        ComparisonError: the plan is invalid; the message says what was expected and what was found.
    """
    document = read_toml(path)
    folder = path.resolve().parent
    _known(path, document, {"clip", "candidate", "judgements"})
    clips = tuple(_clip(path, folder, entry) for entry in _entries(path, document, "clip"))
    candidates = tuple(_candidate(path, folder, entry) for entry in _entries(path, document, "candidate"))
    for what, names in (("clip", [c.name for c in clips]), ("candidate", [c.name for c in candidates])):
        if len(set(names)) < len(names):
            raise ComparisonError(f"{path}: expected a different name for every {what}, got {', '.join(names)}")
    if not clips or len(candidates) < 2:
        raise ComparisonError(
            f"{path}: expected a clip and 2 candidates or more, got {len(clips)} and {len(candidates)}"
        )
    for candidate in candidates:
        for clip in clips:
            video = Path(candidate.source) / f"{clip.name}.mp4"
            if candidate.kind == "videos" and not video.is_file():
                raise ComparisonError(f"{path}: candidate {candidate.name}: expected the video {video}, found none")
    return Plan(clips, candidates, document.get("judgements", {}))


def _entries(path: Path, document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ComparisonError(f"{path}: expected tables [[{name}]], got {entries!r:.80}")
    return entries


def _clip(path: Path, folder: Path, entry: dict[str, Any]) -> Clip:
    _known(path, entry, {"name", "portrait", "speech"})
    return Clip(_name(path, entry), _file(path, folder, entry, "portrait"), _file(path, folder, entry, "speech"))


def _candidate(path: Path, folder: Path, entry: dict[str, Any]) -> Candidate:
    _known(path, entry, {"name", *KINDS, "variant", "photos", "options", "given"})
    name = _name(path, entry)
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1 or not isinstance(entry[kinds[0]], str):
        raise ComparisonError(f"{path}: candidate {name}: expected one of {', '.join(KINDS)}, got {kinds or 'none'}")
    source = entry[kinds[0]]
    if kinds[0] != "server":
        source = str(folder / source)
        if not Path(source).is_dir():
            raise ComparisonError(f"{path}: candidate {name}: expected the folder {source}, found none")
    if "variant" in entry and kinds[0] != "repository":
        raise ComparisonError(f"{path}: candidate {name}: expected variant only beside repository, got {kinds[0]}")
    given = entry.get("given", {})
    for criterion, value in given.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if criterion not in NAMES or not number or not math.isfinite(value):
            raise ComparisonError(
                f"{path}: candidate {name}: expected numbers for criteria ({', '.join(NAMES)}) in given, "
                f"got {criterion} = {value!r:.40}"
            )
    photos = tuple(_file(path, folder, {"name": name, "photos": photo}, "photos") for photo in entry.get("photos", []))
    return Candidate(name, kinds[0], source, entry.get("variant"), photos, entry.get("options", {}), given)


def _name(path: Path, entry: dict[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ComparisonError(f"{path}: expected a name that can be a file's, got {name!r:.80}")
    return name


def _file(path: Path, folder: Path, entry: dict[str, Any], key: str) -> Path:
    value = entry.get(key)
    if not isinstance(value, str) or not (folder / value).is_file():
        raise ComparisonError(f"{path}: {entry['name']}: expected a file for {key}, got {value!r:.80}")
    return folder / value


def _known(path: Path, entry: Mapping[str, Any], keys: set[str]) -> None:
    if unknown := sorted(set(entry) - keys):
        raise ComparisonError(f"{path}: expected the keys {', '.join(sorted(keys))}, got {', '.join(unknown)}")
