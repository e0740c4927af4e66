"""The decoders that tests share: real processes, started once."""

import functools

from sadtalker_runtime.media.audio import Sound, Track, track_blocks
from sadtalker_runtime.media.decoders import Decoders


@functools.cache
def decoders() -> Decoders:
    """Return decoders, whose processes end with this one."""
    return Decoders()


def track_here(sound: Sound) -> Track:
    """Return a track that is decoded in this process."""
    return Track(sound, None if sound.data is None else track_blocks(sound.data, sound.channels))
