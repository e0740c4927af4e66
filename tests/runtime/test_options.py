"""Options of a video: defaults, and what is refused."""

import numpy as np
import pytest
from sadtalker_runtime import options
from sadtalker_runtime.errors import InputError


def test_defaults() -> None:
    asked = options.Options()
    assert (asked.pose_style, asked.expression_scale, asked.still) == (0, 1.0, False)
    assert (asked.seed, asked.blink, asked.size, asked.enhance) == (0, True, None, "none")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pose_style": 46}, "pose_style: expected 0 to 45, got 46"),
        ({"pose_style": -1}, "pose_style: expected 0 to 45, got -1"),
        ({"expression_scale": float("nan")}, "expression_scale: expected 0 to 3, got nan"),
        ({"expression_scale": -0.5}, "expression_scale: expected 0 to 3, got -0.5"),
        ({"expression_scale": 3.5}, "expression_scale: expected 0 to 3, got 3.5"),
        ({"expression_scale": float("inf")}, "expression_scale: expected 0 to 3, got inf"),
        ({"head_motion_scale": 4.0}, "head_motion_scale: expected 0 to 3, got 4"),
        ({"yaw": np.empty((0, 2))}, "yaw: expected 1 to 10000 key frames, got 0"),
        (
            {"pitch": np.array([(1, 0), (1, 5)])},
            "pitch: expected increasing times from 0 s on, 0.04 s apart or more, got 1, 1",
        ),
        ({"pitch": np.array([(-1, 0)])}, "pitch: expected increasing times from 0 s on, 0.04 s apart or more, got -1"),
        (
            {"pitch": np.array([(np.nan, 0)])},
            "pitch: expected increasing times from 0 s on, 0.04 s apart or more, got nan",
        ),
        ({"roll": np.array([(0, 0), (2, 91)])}, "roll: expected -90 to 90 degrees, got 0, 91"),
        ({"roll": np.array([(0, np.nan)])}, "roll: expected -90 to 90 degrees, got nan"),
        ({"blink_rate": -1.0}, "blink_rate: expected 0 to 120 per minute, got -1"),
        ({"blink_rate": float("nan")}, "blink_rate: expected 0 to 120 per minute, got nan"),
        ({"blink_times": -1.0}, "blink_times: expected up to 10000 times from 0 s on, got -1"),
        (
            {"blink": False, "blink_rate": 3.0},
            "blink: expected at most one of blink=False, blink_rate, blink_times, blink_reference, "
            "got blink=False and blink_rate",
        ),
        ({"settle": -0.1}, "settle: expected 0 to 10 seconds, got -0.1"),
        ({"settle": 11.0}, "settle: expected 0 to 10 seconds, got 11"),
        ({"settle": float("nan")}, "settle: expected 0 to 10 seconds, got nan"),
        ({"seed": -1}, "seed: expected a number from 0 on, got -1"),
        ({"crop": "half"}, "crop: expected crop, extcrop, resize, full, extfull, got 'half'"),
        ({"face_index": -2}, "face_index: expected a number from 0 on, or -1 for the main face, got -2"),
        ({"enhance": "codeformer"}, "enhance: expected none, gfpgan, restoreformer, got 'codeformer'"),
    ],
)
def test_bad_options_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        options.Options(**asked)
