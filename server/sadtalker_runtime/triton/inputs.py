"""Reading of a request's tensors; those beyond a limit are refused before they are copied or decoded."""

from collections.abc import Mapping
from typing import Any

from sadtalker_runtime.errors import InputError
from sadtalker_runtime.option_table import MAX_KEY_FRAMES, MAX_PHOTOS

MEGABYTE = 10**6
FILES = {"image": "image", "photos": "image", "audio": "audio"} | dict.fromkeys(
    ("driving", "pose_reference", "blink_reference"), "video"
)
"""Inputs that are files, with the kind of file whose limit holds for them."""
SPEECH = dict.fromkeys(("pcm", "samples"), "speech")
"""Inputs that are pieces of speech, which stay arrays however short they are."""

MISSING_IMAGE = "image: expected an encoded picture, got a request without this input"
"""The message for requests that Triton lets pass because it does not count inputs where some are optional."""


class FileLimits:
    """The largest files that a model takes, by the parameters `max_<kind>_megabytes` of its configuration."""

    def __init__(self, parameters: Mapping[str, Mapping[str, str]]) -> None:
        self._megabytes = {
            name: float(parameters[f"max_{kind}_megabytes"]["string_value"])
            for name, kind in (FILES | SPEECH).items()
            if f"max_{kind}_megabytes" in parameters
        }

    def check(self, name: str, size: int, called: str | None = None) -> None:
        """Raise InputError where `size` bytes are too many for the input `name`; the message names it `called`."""
        most = self._megabytes[name]
        if size > most * MEGABYTE:
            raise InputError(f"{called or name}: expected at most {most:g} MB, got {size / MEGABYTE:.1f} MB")


def read_inputs(request: Any, limits: FileLimits) -> dict[str, Any]:
    """Return the inputs of a request for one video, by name, as `read_tensors` does.

    Raises:
        InputError: `image` is missing, a file is larger than its limit, or there are too many numbers.
    """
    inputs = read_tensors(request, limits)
    if "image" not in inputs:
        raise InputError(MISSING_IMAGE)
    return inputs


def read_tensors(request: Any, limits: FileLimits) -> dict[str, Any]:
    """Return copies of a request's inputs, by name: its tensors must not be touched once `execute` has returned.

    A tensor [1, 1] gives its file (bytes), text (str), number or truth value, `photos` a tuple of files; others,
    [1, ...], and all speech, give an array without the first axis.

    Raises:
        InputError: a file or a piece of speech is larger than its limit, or there are too many numbers.
    """
    return {tensor.name(): _value(tensor.name(), tensor.as_numpy(), limits) for tensor in request.inputs()}


def _value(name: str, array: Any, limits: FileLimits) -> Any:
    if name == "photos":
        return _photos(array, limits)
    if name in SPEECH:
        limits.check(name, array.nbytes)
        return array[0].copy()
    if array.shape != (1, 1):
        if array[0].size and len(array[0]) > MAX_KEY_FRAMES:
            raise InputError(f"{name}: expected at most {MAX_KEY_FRAMES} entries, got {len(array[0])}")
        return array[0].copy()
    value = array.item()
    if not isinstance(value, bytes):
        return value
    if name not in FILES:
        return value.decode(errors="replace")
    limits.check(name, len(value))
    return value


def _photos(array: Any, limits: FileLimits) -> tuple[bytes, ...]:
    """Return the further photos of a request; the portrait is number 1."""
    if array.size >= MAX_PHOTOS:
        raise InputError(f"photos: expected at most {MAX_PHOTOS - 1} besides the portrait, got {array.size}")
    photos = tuple(array.flat)
    for number, photo in enumerate(photos, 2):
        limits.check("photos", len(photo), f"photo {number}")
    return photos
