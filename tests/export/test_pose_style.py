"""The exported audio2pose bounds its index itself: a batch holds requests of different callers."""

from pathlib import Path

import numpy as np
from sadtalker_export.checkpoint import loading
from sadtalker_export.networks.audio2pose import POSE_STYLES
from sadtalker_export.onnx.check import session
from sadtalker_export.onnx.graph import export, sample
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import SPECS
from sadtalker_export.tensorrt.operators import refusals

SPEC = SPECS["audio2pose"]


def test_a_style_that_there_is_none_of_counts_as_the_nearest_and_fails_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    export(SPEC, SPEC.build(loading.synthetic_networks(PRESETS["tiny"], set(SPEC.networks))), file)
    assert refusals(file) == []
    run = session(file)
    inputs = {tensor.name: sample(SPEC, tensor, 3) for tensor in SPEC.inputs}

    def motion(*styles: int) -> np.ndarray:
        (answer,) = run.run(None, {**inputs, "pose_style": np.array(styles, np.int64)[:, None]})
        return answer

    last = POSE_STYLES - 1
    assert np.array_equal(motion(99, -5, 7), motion(last, 0, 7))
    assert not np.array_equal(motion(last, 0, 7)[0], motion(last - 1, 0, 7)[0])
