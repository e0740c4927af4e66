"""Which of several faces is meant, what the learned detectors are asked, and what the cascade finds without them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import drawn_face
from PIL import Image
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.portrait import face, finder
from sadtalker_runtime.portrait.haar import HaarFinder

SQUARE = 640
EXAMPLE = Path(__file__).parents[2] / "examples" / "portrait.jpg"


def some_face(left: float, prominence: float) -> object:
    return face.Face(np.array([left, 0, left + 10, 10]), np.zeros((5, 2)), prominence)


FACES = [some_face(50, 1), some_face(0, 3), some_face(90, 2)]


@pytest.mark.parametrize(("index", "expected"), [(face.MAIN, 1), (0, 1), (1, 0), (2, 2)])
def test_faces_are_counted_from_left_to_right(index: int, expected: int) -> None:
    assert face.choose(FACES, index, 100, 100) is FACES[expected]


def test_a_face_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"^face_index: expected 0 to 2, as 3 faces were found, got 3$"):
        face.choose(FACES, 3, 100, 100)
    with pytest.raises(InputError, match=r"^face_index: expected 0 to 0, as 1 face was found, got 7$"):
        face.choose(FACES[:1], 7, 100, 100)
    with pytest.raises(InputError, match=r"^image: expected a frontal face, got a picture of 90 x 80 pixels without"):
        face.choose([], 0, 90, 80)


class Detectors:
    """Stand in for the networks: two faces at fixed places of the square, and landmarks on a diagonal."""

    def __init__(self, *installed: str) -> None:
        self.installed = installed
        self.seen: dict[str, np.ndarray] = {}

    def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        self.seen[model] = next(iter(inputs.values()))[0]
        if model == "face_alignment":
            return [np.linspace((0, 0), (256, 256), 68, dtype=np.float32)[None]]
        boxes = np.array([[(64, 32, 128, 96), (320, 64, 480, 224), (66, 32, 128, 96), (0, 0, 640, 640)]], np.float32)
        landmarks = (boxes[..., :2] + boxes[..., 2:])[:, :, None] / 2 + np.arange(10, dtype=np.float32).reshape(5, 2)
        return [boxes, np.array([[0.999, 0.98, 0.99, 0.5]], np.float32), landmarks]


def test_learned_detectors_see_the_picture_in_a_square_and_answer_in_its_pixels() -> None:
    networks = Detectors("face_detector", "face_alignment")
    picture = np.full((400, 800, 3), (10, 20, 30), np.uint8)
    picture[80:280, 400:600] = 200  # where the larger face is
    find = finder.FaceFinder(networks.call, networks.installed.__contains__).find
    found = find(picture, face.MAIN)
    np.testing.assert_allclose(found.box, [400, 80, 600, 280])
    square = networks.seen["face_detector"]
    assert square.shape == (3, SQUARE, SQUARE) and square.dtype == np.float32
    np.testing.assert_array_equal(square[:, 10, 10], [10, 20, 30])
    assert (square[:, 320:] == square[:, 320:321, :1]).all(), "below the picture there is one colour"
    cut = networks.seen["face_alignment"]
    assert cut.shape == (3, 256, 256)
    np.testing.assert_allclose(cut, 200 / 255, atol=1e-6)
    np.testing.assert_allclose(found.points68, np.linspace((400, 80), (600, 280), 68), atol=1e-3)
    np.testing.assert_allclose(found.landmarks[2], found.points68[30])
    np.testing.assert_allclose(find(picture, 0).box, [80, 40, 160, 120])


def test_without_the_alignment_network_the_detector_s_landmarks_are_taken() -> None:
    networks = Detectors("face_detector")
    found = finder.FaceFinder(networks.call, networks.installed.__contains__).find(np.zeros((640, 640, 3), np.uint8), 1)
    assert found.points68 is None
    np.testing.assert_allclose(found.landmarks[0], [400, 145])  # the middle of its box, and what sets it apart


def test_a_face_at_the_picture_s_edge_is_cut_there() -> None:
    networks = Detectors("face_detector", "face_alignment")
    picture = np.zeros((100, 400, 3), np.uint8)  # the larger face goes beyond its lower edge
    found = finder.FaceFinder(networks.call, networks.installed.__contains__).find(picture, face.MAIN)
    np.testing.assert_allclose(found.points68[[0, 67]], [(200, 40), (300, 100)], atol=1e-3)


def test_without_detectors_the_cascade_counts_from_the_left_too() -> None:
    page = np.full((400, 900, 3), 128, np.uint8)
    page[40:360, 20:340] = drawn_face(320)
    page[60:340, 560:840] = drawn_face(280)
    find = finder.cascade_finder().find
    assert find(page, 0).box[2] < 450 < find(page, 1).box[0]
    with pytest.raises(InputError, match=r"^face_index: expected 0 to 1, as 2 faces were found, got 2$"):
        find(page, 2)


def test_the_cascade_finds_a_face_that_fills_a_small_plain_picture() -> None:
    """The frame of the example portrait's face, as high as the picture: too near its edges for the first search."""
    for colour in (0, 128, 255):
        page = np.full((220, 240, 3), colour, np.uint8)
        page[:, 10:230] = example_head(220)
        [found] = HaarFinder().faces(page)
        np.testing.assert_allclose(found.box, [10, 0, 230, 220], atol=25)


def test_the_cascade_finds_all_of_sixteen_tiled_faces() -> None:
    side = 64
    found = HaarFinder().faces(np.tile(example_head(side), (4, 4, 1)))
    tiles = sorted(tuple(int(at) for at in (face.box[:2] + face.box[2:]) / 2 // side) for face in found)
    assert tiles == [(column, row) for column in range(4) for row in range(4)]


def test_the_second_search_leaves_the_faces_of_the_first_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    page = np.full((400, 900, 3), 128, np.uint8)
    page[40:360, 20:340] = drawn_face(320)
    page[60:340, 560:840] = drawn_face(280)
    both = HaarFinder().faces(page)
    monkeypatch.setattr(HaarFinder, "_search", only_the_first(HaarFinder._search))
    first = HaarFinder().faces(page)
    assert len(first) == len(both) == 2
    for face_, other in zip(first, both, strict=True):
        np.testing.assert_array_equal(face_.box, other.box)


def only_the_first(search: Callable[..., list[face.Face]]) -> Callable[..., list[face.Face]]:
    """Make a search that finds nothing with a border around the picture."""
    return lambda self, grey, scale, border, smallest: [] if border else search(self, grey, scale, border, smallest)


def example_head(side: int) -> np.ndarray:
    """Cut out the face of the example portrait, as the cascade frames it: uint8 [side, side, 3]."""
    picture = np.asarray(Image.open(EXAMPLE).convert("RGB"))
    return cv2.resize(picture[65:161, 176:272], (side, side), interpolation=cv2.INTER_AREA)
