"""How a session's frames are sent: as pixels, as JPEG files, or as one endless fragmented MP4."""

from fractions import Fraction
from typing import Protocol

import av
import cv2
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.media.mp4 import AAC_BLOCK, SOUND_PER_FRAME, FragmentedMp4

JPEG_QUALITY = 90
ENDLESS = 2**31  # frames, 2.7 years


class Encoder(Protocol):
    """An encoder of one frame after the other."""

    carries_sound: bool

    def encode(self, picture: Array, sound: Array) -> bytes:
        """Encode uint8 [height, width, 3] with its int16 [1920] of sound at 48 kHz."""

    def close(self) -> None:
        """Release encoders."""


def encoder(format: str, width: int, height: int, pixel_aspect: Fraction) -> Encoder:
    """Return the encoder of a format: rgb24, jpeg or mp4."""
    if format == "mp4":
        return EndlessMp4(width, height, pixel_aspect)
    return Pixels() if format == "rgb24" else Jpeg()


class Pixels:
    """Rows of red, green and blue bytes."""

    carries_sound = False

    def encode(self, picture: Array, sound: Array) -> bytes:
        return picture.tobytes()

    def close(self) -> None: ...


class Jpeg:
    """A JPEG file per frame."""

    carries_sound = False

    def encode(self, picture: Array, sound: Array) -> bytes:
        _, file = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return bytes(file)

    def close(self) -> None: ...


class EndlessMp4(FragmentedMp4):
    """A fragment per frame.

    A fragment's sound goes as far as whole AAC blocks of what is known: it ends up to 64 ms before its picture does.
    """

    carries_sound = True

    def __init__(self, width: int, height: int, pixel_aspect: Fraction) -> None:
        self._pending = np.empty(0, np.float32)
        super().__init__(ENDLESS, width, height, 1, self._next_sound, pixel_aspect)

    def encode(self, picture: Array, sound: Array) -> bytes:
        self._pending = np.concatenate([self._pending, sound.astype(np.float32) / np.float32(32768)])
        if self._shown == 0:
            self._pending = self._pending[AAC_BLOCK:]  # read before the first frame: the encoder's lead-in
        return self.write([picture])

    def _opening(self, fragment: bytes) -> bytes:
        return fragment  # its length is not known

    def _sound_until(self, blocks: int | None) -> list[av.Packet]:
        # One block is in the encoder and one is its lead-in.
        return super()._sound_until(max(self._shown * SOUND_PER_FRAME // AAC_BLOCK - 2, 0))

    def _next_sound(self, samples: int) -> Array:
        taken, self._pending = self._pending[:samples], self._pending[samples:]
        return np.pad(taken, (0, samples - len(taken)))[None]
