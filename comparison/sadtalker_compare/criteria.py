"""The criteria: one list, in four groups, with unit and direction."""

from dataclasses import dataclass

BASIC, CREDIBILITY, PERFORMANCE, VISUAL = "basic provisions", "credibility", "performance", "visual quality"
GROUPS = (BASIC, CREDIBILITY, PERFORMANCE, VISUAL)


@dataclass(frozen=True)
class Criterion:
    """A property by which candidates are compared."""

    name: str
    group: str
    unit: str
    more_is_better: bool
    meaning: str


CRITERIA = (
    Criterion("resolution", BASIC, "pixels", True, "shorter side of the video"),
    Criterion("frame_rate", BASIC, "frames/s", True, "of the video"),
    Criterion("longest_clip", BASIC, "s", True, "longest speech that is accepted, given by hand"),
    Criterion("licence", BASIC, "1 to 5", True, "freedom of use, given by hand: 1 research only, 5 any use"),
    Criterion("lip_correlation", CREDIBILITY, "-1 to 1", True, "mouth opening against the loudness of the speech"),
    Criterion("lip_lag", CREDIBILITY, "ms", False, "by which the mouth is early or late where they agree best"),
    Criterion("identity", CREDIBILITY, "0 to 1", True, "likeness to the portrait: colours and upper face"),
    Criterion("blink_deviation", CREDIBILITY, "per minute", False, "distance of the blink rate from 10 to 25"),
    Criterion("head_motion", CREDIBILITY, "% of face width", True, "deviation of the head's position, at most 5"),
    Criterion("seconds_per_frame", PERFORMANCE, "s", False, "from the request to the last frame"),
    Criterion("first_fragment", PERFORMANCE, "s", False, "from the request to the first part of the video"),
    Criterion("memory", PERFORMANCE, "GB", False, "resident, peak of the server's processes"),
    Criterion("sharpness", VISUAL, "share", True, "detail of the face against that of the portrait, at most 1"),
    Criterion("flicker", VISUAL, "grey levels", False, "change that no motion explains"),
    Criterion("seams", VISUAL, "ratio", False, "strongest straight edge in the change between frames"),
)
NAMES = tuple(criterion.name for criterion in CRITERIA)
