"""Pictures of every kind, good and bad, up to what the networks see."""

import io
import struct
import zlib

import numpy as np
import pytest
from pictures import drawn_face, encoded
from PIL import Image
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.portrait import face, finder, picture
from sadtalker_runtime.portrait import preparation as portrait

FACE = drawn_face()
NOISE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)


def unavailable(*_: object) -> list[np.ndarray]:
    raise AssertionError("no model is there to be called")


@pytest.fixture(scope="module")
def detector() -> object:
    return finder.FaceFinder(unavailable, lambda model: False)


def test_portrait_is_what_the_networks_want(detector) -> None:
    made = portrait.prepare(encoded(drawn_face(800)), detector)
    assert (made.face.shape, made.face.dtype) == ((3, 256, 256), np.float32)
    assert (made.aligned_face.shape, made.aligned_face.dtype) == ((3, 224, 224), np.float32)
    for tensor in (made.face, made.aligned_face):
        assert 0 <= tensor.min() < 0.4
        assert 0.6 < tensor.max() <= 1
    left, top, right, bottom, width, height = made.geometry
    assert made.geometry.dtype == np.int32
    assert (width, height) == (800, 800)
    assert 0 <= left < right <= 800
    assert 0 <= top < bottom <= 800
    # The drawn eyes lie at (320, 380) and (480, 380); in the aligned face, where the mean face has its eyes.
    iris = made.aligned_face.mean(0)[85:115]
    left_eye, right_eye = iris[:, :112].min(0).argmin(), 112 + iris[:, 112:].min(0).argmin()
    assert left_eye == pytest.approx(112 - 0.31 * 102, abs=12)
    assert right_eye == pytest.approx(112 + 0.31 * 102, abs=12)
    assert made.alignment[:2].tolist() == [256, 256]


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Return a face of 200 pixels in a picture of 901 x 603, as a person stands in a room."""
    page = np.full((603, 901, 3), (90, 120, 110), np.uint8)
    page[150:470, 300:620] = drawn_face(320)
    return page


def test_crops_show_ever_more_of_the_picture(detector, scene: np.ndarray) -> None:
    boxes, made = {}, {}
    for crop in portrait.CROPS:
        made[crop] = portrait.prepare(encoded(scene), detector, crop)
        assert made[crop].face.shape == (3, 256, 256)
        boxes[crop] = made[crop].geometry[:4]
        left, top, right, bottom = boxes[crop]
        eyes = made[crop].landmarks[:2] / 256 * (right - left, bottom - top) + (left, top)
        np.testing.assert_allclose(eyes, [(428, 302), (492, 302)], atol=12)
    assert boxes["resize"].tolist() == [0, 0, 901, 603]
    assert (boxes["extcrop"] - boxes["crop"]).tolist() == pytest.approx([-28, -28, 28, 28], abs=8)
    for narrow, whole in (("crop", "full"), ("extcrop", "extfull")):
        np.testing.assert_allclose(boxes[narrow], boxes[whole], atol=4)  # found anew in a picture of even sides
        np.testing.assert_array_equal(made[whole].picture, scene[:602, :900])  # sides of a video are even
        assert made[whole].geometry[4:].tolist() == [900, 602]


def test_a_large_picture_is_shown_smaller(detector, scene: np.ndarray) -> None:
    large = np.asarray(Image.fromarray(scene).resize((2703, 1809), Image.Resampling.BICUBIC))
    made = portrait.prepare(encoded(large), detector, "full")
    assert made.picture.shape == (1284, 1920, 3)
    left, top, right, bottom = made.geometry[:4] * 901 / 1920
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((460, 320), abs=20)


def test_another_crop_is_refused(detector) -> None:
    with pytest.raises(InputError, match=r"^crop: expected crop, extcrop, resize, full, extfull, got 'half'$"):
        portrait.prepare(encoded(FACE), detector, "half")


@pytest.mark.parametrize("size", [160, 320, 1000])
def test_landmarks_scale_with_the_picture(detector, size: int) -> None:
    points = detector.find(drawn_face(size), face.MAIN).landmarks / size
    expected = [(0.4, 0.475), (0.6, 0.475), (0.5, 0.62), (0.43, 0.725), (0.57, 0.725)]
    np.testing.assert_allclose(points, expected, atol=0.04)


def test_of_two_faces_the_clearer_one_is_taken(detector) -> None:
    page = np.full((400, 900, 3), 128, np.uint8)
    page[40:360, 20:340] = drawn_face(320)
    page[:, 500:] = drawn_face(400) // 8 + 112  # larger, but faint
    assert detector.find(page, face.MAIN).landmarks[:, 0].max() < 340


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})],
)
def test_formats_decode_alike(form: str, options: dict) -> None:
    decoded = picture.decode(encoded(FACE, form, **options))
    assert (decoded.shape, decoded.dtype) == (FACE.shape, np.uint8)
    assert np.abs(decoded.astype(int) - FACE).mean() < 2


def test_grey_pictures_become_rgb() -> None:
    grey = Image.fromarray(FACE).convert("L")
    for image in (grey, Image.merge("LA", (grey, Image.new("L", grey.size, 255)))):
        decoded = picture.decode(encoded(image))
        np.testing.assert_array_equal(decoded, np.repeat(np.asarray(grey)[..., None], 3, axis=2))


def test_sixteen_bits_become_eight() -> None:
    grey = np.asarray(Image.fromarray(FACE).convert("L"))
    decoded = picture.decode(encoded(Image.fromarray(grey.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(decoded[..., 0], grey)


def test_transparent_pixels_become_white() -> None:
    alpha = np.full((320, 320, 1), 255, np.uint8)
    alpha[:100] = 0
    decoded = picture.decode(encoded(np.concatenate([FACE, alpha], axis=2)))
    assert (decoded[:100] == 255).all()
    np.testing.assert_array_equal(decoded[100:], FACE[100:])


def test_transparent_palette_colour_becomes_white() -> None:
    image = Image.fromarray(FACE).quantize(64)
    index = image.getpixel((0, 0))
    decoded = picture.decode(encoded(image, transparency=index))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert np.abs(decoded[150:180, 150:180].astype(int) - FACE[150:180, 150:180]).mean() < 8


def test_cmyk_becomes_rgb() -> None:
    decoded = picture.decode(encoded(Image.fromarray(FACE).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - FACE).mean() < 4


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(FACE, -turns)
    np.testing.assert_array_equal(picture.decode(encoded(np.ascontiguousarray(stored), exif=exif)), FACE)


def _png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and ends where its pixels begin."""
    fields = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + fields + struct.pack(">I", zlib.crc32(fields)) + b"\0\0\1\0IDAT"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an encoded picture, got 0 bytes"),
        (b"not a picture at all", "expected an encoded picture .PNG, JPEG, WEBP.*, got 20 bytes of something else"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "got 49 bytes of something else"),
        (encoded(FACE)[:5000], "expected an intact PNG, got a damaged one"),
        (encoded(FACE, "JPEG")[:3000], "expected an intact JPEG, got a damaged one"),
        (_png_header(300, 300), "expected an intact PNG, got a damaged one"),
        (encoded(FACE[:1, :1]), "expected at least 64 pixels on each side, got 1 x 1 pixels"),
        (encoded(FACE[:63]), "expected at least 64 pixels on each side, got 320 x 63 pixels"),
        (_png_header(20_000, 20_000), "expected at most 64 megapixels, got 20000 x 20000 pixels"),
        (encoded(NOISE), "expected a frontal face, got a picture of 400 x 300 pixels without one"),
        (encoded(np.full((100, 100, 3), 90, np.uint8)), "expected a frontal face, got a picture of 100 x 100 pixels"),
    ],
)
def test_bad_pictures_are_refused(detector, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^image: .*{message}"):
        portrait.prepare(data, detector)


def test_pictures_of_more_than_24_megapixels_are_halved() -> None:
    page = np.zeros((4900, 5000, 3), np.uint8)
    page[::2, ::2] = 200
    assert picture.decode(encoded(page[:4800], compress_level=1)).shape == (4800, 5000, 3)
    halved = picture.decode(encoded(page, compress_level=1))
    assert halved.shape == (2450, 2500, 3)
    assert (halved == 50).all()  # every pixel the mean of four
    clear = Image.new("RGBA", (5000, 4900), (0, 0, 0, 51))
    assert (picture.decode(encoded(clear, compress_level=1)) == 204).all()  # over white, as in smaller ones


def test_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    data = encoded(Image.new("1", (20_000, 20_000)))
    image = Image.open(io.BytesIO(data))
    assert image.size == (20_000, 20_000)
    with pytest.raises(InputError, match="20000 x 20000"):
        picture.decode(data)
