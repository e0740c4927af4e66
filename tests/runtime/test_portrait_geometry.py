"""Crop and alignment against what SadTalker computes."""

import numpy as np
import pytest
from reference_figures import figures
from sadtalker_runtime.portrait import alignment, crop

GEOMETRY = figures("geometry")


@pytest.mark.parametrize("case", ["crop0", "crop1", "crop2", "crop3"])
def test_crop_is_the_reference_s(case: str) -> None:
    points = crop.eyes_and_mouth(GEOMETRY[f"{case}.landmarks"])
    cut = crop.crop_geometry(points, *GEOMETRY[f"{case}.image_size_wh"])
    assert cut.resized == tuple(GEOMETRY[f"{case}.resized_wh"])
    assert cut.rectangle == tuple(GEOMETRY[f"{case}.crop"])
    np.testing.assert_allclose(cut.quad, GEOMETRY[f"{case}.quad"], atol=1e-3)


def test_a_large_face_is_shrunk_by_a_whole_factor_first() -> None:
    points = np.array([(1600, 1900), (2400, 1900), (1700, 2900), (2300, 2900)])
    cut = crop.crop_geometry(points, 4001, 4000)
    square = 2 * max(2.0 * 800, 1.8 * 1000)
    assert cut.resized == (round(4001 / 3), round(4000 / 3))
    assert int(square / 512 / 2) == 3
    left, top, right, bottom = cut.face
    assert (right - left, bottom - top) == pytest.approx((square / 3, square / 3), abs=2)


def test_the_face_never_leaves_the_resized_picture() -> None:
    for points in ([(5, 5), (60, 5), (10, 90), (55, 90)], [(290, 290), (299, 280), (298, 299), (299, 298)]):
        left, top, right, bottom = crop.crop_geometry(np.array(points), 300, 300).face
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 300


def test_alignment_is_the_reference_s() -> None:
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    picture = np.stack([x, y, (x + y) // 2 % 256], axis=-1).astype(np.uint8)
    parameters, aligned = alignment.align(picture, alignment.five_landmarks(GEOMETRY["align.landmarks"]))
    np.testing.assert_allclose(parameters, GEOMETRY["align.trans_params"], atol=1e-3)
    assert aligned.shape == (224, 224, 3)
    np.testing.assert_array_equal(aligned[::8, ::8], GEOMETRY["align.image"])
