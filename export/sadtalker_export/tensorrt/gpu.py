"""The GPU that engines are built on, read from its driver, which is there wherever TensorRT can run."""

import ctypes
import re
from dataclasses import dataclass

from ..errors import UsageError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a slice of a shared one: its name and its compute capability.

    The name tells the slice, too: "NVIDIA A100-SXM4-80GB MIG 3g.40gb".
    """

    name: str
    capability: tuple[int, int]

    @property
    def key(self) -> str:
        """Return a name for files: "nvidia-a100-sxm4-80gb-mig-3g.40gb-sm80"."""
        major, minor = self.capability
        return f"{re.sub(r'[^a-z0-9.]+', '-', self.name.lower()).strip('-')}-sm{major}{minor}"


def current_gpu() -> Gpu:
    """Return the first visible GPU. Raises `UsageError` without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise UsageError(
            "engines are built on the GPU that runs them, but this machine has no NVIDIA driver"
        ) from error
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    values = (ctypes.c_int(), ctypes.c_int())
    calls = (
        ("cuInit", 0),
        ("cuDeviceGet", ctypes.byref(device), 0),
        ("cuDeviceGetName", name, len(name), device),
        ("cuDeviceGetAttribute", ctypes.byref(values[0]), _MAJOR, device),
        ("cuDeviceGetAttribute", ctypes.byref(values[1]), _MINOR, device),
    )
    for function, *arguments in calls:
        if status := getattr(cuda, function)(*arguments):
            raise UsageError(f"no usable GPU: the NVIDIA driver's {function} fails with {status}")
    return Gpu(name.value.decode(), (values[0].value, values[1].value))
