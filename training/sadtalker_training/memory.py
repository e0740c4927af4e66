"""A setting of glibc that keeps freed memory: every training step asks for the same large tensors again."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt's names for its parameters
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in the process from now on; fetching it anew, page by page, can take most of a step."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 1 << 28)):
            mallopt(parameter, value)
