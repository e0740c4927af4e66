"""Following a face through a video: which pictures are looked at, how they are framed, what is done without a face."""

import asyncio
import io

import numpy as np
import pytest
from decoding import decoders
from films import film, grey, wandering
from pictures import drawn_face
from PIL import Image
from sadtalker_runtime.animation import driving
from sadtalker_runtime.errors import REFUSED, CallError, InputError
from sadtalker_runtime.portrait.finder import cascade_finder
from sadtalker_runtime.portrait.preparation import prepare

finder = cascade_finder()


class Models:
    """The real portrait_crop, without Triton, and a reconstruction that tells pictures apart by their brightness."""

    def __init__(self, faceless: set[int] = frozenset()) -> None:
        self.faceless = faceless  # which looks find nothing
        self.looks = 0
        self.batches: list[np.ndarray] = []

    async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        made = getattr(self, model)(**inputs)
        return [made[name] for name in outputs]

    def portrait_crop(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.looks += 1
        try:
            if self.looks - 1 in self.faceless:
                raise InputError("image: expected a frontal face, got none")
            portrait = prepare(image.item(), finder)
        except InputError as error:
            raise CallError(f"{REFUSED}{error}") from error
        return {"geometry": portrait.geometry[None], "alignment": portrait.alignment[None]}

    def face_reconstruction(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.batches.append(image)
        return {"coefficients": np.tile(image.mean((1, 2, 3))[:, None], 257).astype(np.float32)}


def followed(models: Models, data: bytes, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return the coefficients of some frames, all by default."""

    async def run() -> np.ndarray:
        read = decoders().video("driving", data, 600)
        face = driving.DrivingFace(models.call, read)
        values = await face.coefficients(start, read.frames if stop is None else stop)
        await face.close()
        return values

    return asyncio.run(run())


def test_every_frame_is_read_and_every_fifth_looked_at() -> None:
    models = Models()
    values = followed(models, film(wandering(drawn_face(), 33)))
    assert values.shape == (33, 70)
    assert values.dtype == np.float32
    assert models.looks == 7
    assert [batch.shape for batch in models.batches] == [(5, 3, 224, 224)] * 6 + [(3, 3, 224, 224)]
    assert all(batch.min() >= 0 and batch.max() <= 1 for batch in models.batches)


@pytest.mark.parametrize("shape", [(320, 320), (640, 360), (240, 480)])
def test_faces_are_framed_as_those_of_portraits(shape: tuple[int, int]) -> None:
    page = np.full((shape[1], shape[0], 3), (150, 170, 190), np.uint8)
    page[:240, :240] = drawn_face(240)
    models = Models()
    followed(models, film([page] * 5))
    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG")
    expected = prepare(file.getvalue(), finder).aligned_face
    assert np.abs(models.batches[0][0] - expected).mean() < 0.03  # a cut at the edge stretches a portrait a little


def test_the_square_follows_the_face_without_trembling() -> None:
    squares = [np.array([100 + 10 * look + (-1) ** look, 50, 80.0]) for look in range(9)]
    smooth = np.array([driving.smoothed(squares, look) for look in range(2, 7)])
    np.testing.assert_allclose(np.diff(smooth[:, 0]), 10, atol=0.3)
    np.testing.assert_allclose(smooth[:, 1:], [[50, 80]] * 5)
    squares[4] = None  # counts as the one before
    assert abs(driving.smoothed(squares, 4)[0] - 140) < 5


def test_a_square_beyond_the_edge_is_black_there() -> None:
    face = driving.framed(np.full((100, 100, 3), 255, np.uint8), np.array([0.0, 50.0, 60.0]))
    assert face.shape == (3, 224, 224)
    assert face[:, :, :100].max() == 0
    assert face[:, :, 125:].min() == 1


def test_before_the_first_face_it_rests_as_it_begins() -> None:
    models = Models()
    face = wandering(drawn_face(), 20)
    data = film([np.full_like(face[0], 90)] * 12 + face)
    values = followed(models, data)
    assert len(values) == 32
    assert (values[:15] == values[15]).all()
    assert np.ptp(values[15:, 0]) > 0


def test_where_the_face_is_lost_for_long_the_last_frame_stays() -> None:
    models = Models(faceless=set(range(3, 12)))
    values = followed(models, film(wandering(drawn_face(), 75)))
    assert len(values) == 75
    held = values[24:50, 0]  # from the look that has none within two on either side
    assert (held == held[0]).all()
    assert np.ptp(values[:25, 0]) > 0
    assert np.ptp(values[50:, 0]) > 0


def test_a_short_video_goes_back_and_forth() -> None:
    models = Models()
    values = followed(models, film(wandering(drawn_face(), 7)), 0, 20)
    order = [0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 5]
    np.testing.assert_array_equal(values, values[order])
    assert len(set(values[:7, 0])) == 7
    one = followed(Models(), film(wandering(drawn_face(), 1)), 0, 4)
    assert (one == one[0]).all()


def test_only_what_is_asked_for_is_decoded() -> None:
    models = Models()
    followed(models, film(wandering(drawn_face(), 200)), 0, 5)
    assert models.looks == 4  # the frame's own, and those that its square is smoothed with


def test_no_face_is_said_so_and_not_searched_for_ever() -> None:
    with pytest.raises(
        InputError, match=r"^driving: expected a frontal face, got a video without one in its first 0.4 "
    ):
        followed(Models(), film(grey([90] * 10, 128, 128)))
    models = Models()
    with pytest.raises(InputError, match=r"without one in its first 5 seconds$"):
        followed(models, film(grey([90] * 300, 128, 128)))
    assert models.looks == 9  # at every third group


def test_another_failure_is_no_missing_face() -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("portrait_crop failed")

    async def run() -> None:
        face = driving.DrivingFace(broken, decoders().video("driving", film(grey([90] * 5)), 600))
        with pytest.raises(RuntimeError, match=r"^portrait_crop failed$"):
            await face.coefficients(0, 5)

    asyncio.run(run())
