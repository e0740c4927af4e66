"""Measures all criteria of one candidate over all clips."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.portrait.picture import decode

from sadtalker_compare.criteria import NAMES
from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.measures import credibility, visual
from sadtalker_compare.measures.face import track_face
from sadtalker_compare.measures.video import Curve, Frame, loudness, read_speech, read_video
from sadtalker_compare.plan import Candidate, Clip
from sadtalker_compare.systems import Production

SHOWN = 8  # frames of a contact sheet
NO_FACE = {
    "lip_correlation": 0.0,
    "lip_lag": 1000 * credibility.REACH,
    "identity": 0.0,
    "blink_deviation": credibility.NATURAL_BLINKS[0],
    "head_motion": 0.0,
    "sharpness": 0.0,
}
"""Values of a video in which no face is found: the worst possible ones."""


@dataclass(frozen=True)
class Measurement:
    """The values of a candidate's criteria, and what the report shows of its videos."""

    values: Mapping[str, float | None]
    remarks: tuple[str, ...]
    """Notes for the report, such as a video without a face."""
    frames: Mapping[str, list[Frame]]
    """By clip: some, evenly spread."""
    openings: Mapping[str, tuple[Curve, Curve, float]]
    """By clip: mouth opening, loudness, frames per second."""


def measure(candidate: Candidate, clips: tuple[Clip, ...], production: Production) -> Measurement:
    """Measure a candidate's videos; values are means over the clips, the worst one's of `lip_lag` and `seams`."""
    rows: list[dict[str, float]] = []
    remarks, frames, openings = [], {}, {}
    for clip in clips:
        video = read_video(production.videos[clip.name])
        frames[clip.name] = [video.frames[i] for i in np.linspace(0, len(video.frames) - 1, SHOWN).astype(int)]
        row = {
            "resolution": float(min(video.frames[0].shape[:2])),
            "frame_rate": video.rate,
            "flicker": visual.flicker(video.frames),
            "seams": visual.seams(video.frames),
        }
        portrait = _picture(clip.portrait)
        level = loudness(read_speech(clip.speech), video.rate, len(video.frames))
        try:
            track = track_face(video.frames)
        except ComparisonError as error:
            remarks.append(f"{candidate.name}, {clip.name}: {error}; its face counts as the worst")
            row |= NO_FACE
        else:
            row["lip_correlation"], lag = credibility.lip_sync(track.opening, level, video.rate)
            row["lip_lag"] = abs(lag)
            row["identity"] = credibility.identity(track, portrait)
            count = credibility.blinks(credibility.eye_likeness(track), video.rate)
            row["blink_deviation"] = credibility.blink_deviation(count, len(video.frames) / video.rate)
            row["head_motion"] = credibility.head_motion(track)
            row["sharpness"] = visual.sharpness(track, portrait)
            openings[clip.name] = (track.opening, level, video.rate)
        rows.append(row)
    values: dict[str, float | None] = dict.fromkeys(NAMES)
    for name in rows[0]:
        column = [row[name] for row in rows]
        values[name] = max(column) if name in ("lip_lag", "seams") else float(np.mean(column))
    values["seconds_per_frame"] = production.seconds_per_frame
    values["first_fragment"] = production.first_fragment
    values["memory"] = production.memory
    return Measurement({**values, **candidate.given}, tuple(remarks), frames, openings)


def _picture(path: Path) -> Frame:
    try:
        return decode(path.read_bytes())
    except (InputError, OSError) as error:
        raise ComparisonError(f"{path}: {error}") from error
