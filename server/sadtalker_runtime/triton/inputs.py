"""Reads a request's tensors; what is larger than it may be is refused before it is copied or decoded."""

from collections.abc import Mapping
from typing import Any

from sadtalker_runtime.errors import InputError
from sadtalker_runtime.option_table import MAX_KEY_FRAMES, MAX_PHOTOS

MEGABYTE = 10**6
FILES = {"image": "image", "photos": "image", "audio": "audio"} | dict.fromkeys(
    ("driving", "pose_reference", "blink_reference"), "video"
)
"""Inputs that are files, and whose limit holds for them."""

MISSING_IMAGE = "image: expected an encoded picture, got a request without this input"
"""Said of requests that Triton lets pass, as it does not count inputs where some are optional."""


class FileLimits:
    """The largest files that a model takes, by the parameters `max_<kind>_megabytes` of its configuration."""

    def __init__(self, parameters: Mapping[str, Mapping[str, str]]) -> None:
        self._megabytes = {
            name: float(parameters[f"max_{kind}_megabytes"]["string_value"])
            for name, kind in FILES.items()
            if f"max_{kind}_megabytes" in parameters
        }

    def check(self, name: str, data: bytes, called: str | None = None) -> None:
        """Raise InputError where the file of input `name` is too large; the message calls it `called`."""
        most = self._megabytes[name]
        if len(data) > most * MEGABYTE:
            raise InputError(f"{called or name}: expected at most {most:g} MB, got {len(data) / MEGABYTE:.1f} MB")


def read_inputs(request: Any, limits: FileLimits) -> dict[str, Any]:
    """Return the inputs of a request for one video, by name.

    A tensor [1, 1] gives its file (bytes), text (str), number or truth value; others, [1, ...], give a copy without
    the first axis, and `photos` a tuple of files.

    Raises:
        InputError: `image` is missing, a file is larger than its limit, or there are too many numbers.
    """
    inputs = {tensor.name(): _value(tensor.name(), tensor.as_numpy(), limits) for tensor in request.inputs()}
    if "image" not in inputs:
        raise InputError(MISSING_IMAGE)
    return inputs


def _value(name: str, array: Any, limits: FileLimits) -> Any:
    if name == "photos":
        return _photos(array, limits)
    if array.shape != (1, 1):
        if array[0].size and len(array[0]) > MAX_KEY_FRAMES:
            raise InputError(f"{name}: expected at most {MAX_KEY_FRAMES} entries, got {len(array[0])}")
        return array[0].copy()
    value = array.item()
    if not isinstance(value, bytes):
        return value
    if name not in FILES:
        return value.decode(errors="replace")
    limits.check(name, value)
    return value


def _photos(array: Any, limits: FileLimits) -> tuple[bytes, ...]:
    """Return the further photos of a request; the portrait is number 1."""
    if array.size >= MAX_PHOTOS:
        raise InputError(f"photos: expected at most {MAX_PHOTOS - 1} besides the portrait, got {array.size}")
    photos = tuple(array.flat)
    for number, photo in enumerate(photos, 2):
        limits.check("photos", photo, f"photo {number}")
    return photos
