"""Deterministic stand-ins for checkpoint tensors and network inputs: every value is a function of a name.

Anyone can make the same weights and inputs from the same names, so that figures computed elsewhere can be compared
without shipping gigabytes. A name's SHA-256 seeds a Philox generator; scales keep activations of order one.
"""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .layout import CheckpointFile, Shape

Array = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def generator(name: str) -> np.random.Generator:
    """Return a random generator that depends on the name alone, on every platform."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=seed))


def named_input(
    name: str, shape: Shape, low: float | None = None, high: float | None = None
) -> npt.NDArray[np.float32]:
    """Return a network input: uniform in [low, high), or standard normal without bounds."""
    g = generator("input:" + name)
    if low is None or high is None:
        return g.standard_normal(shape).astype(np.float32)
    return g.uniform(low, high, shape).astype(np.float32)


def tensor(key: str, shape: Shape) -> Array:
    """Return the value of one checkpoint tensor, scaled according to the kind of tensor its key names."""
    kind = key.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    z = generator(key).standard_normal(shape)
    if kind == "running_var":
        z = 1.0 + 0.1 * np.abs(z)
    elif kind in ("weight_u", "weight_v"):
        z = z / np.linalg.norm(z)
    elif ".noises." in f".{key}" or key.endswith("constant_input.weight"):
        pass
    elif kind in ("running_mean", "bias"):
        z = 0.1 * z
    elif len(shape) <= 1:
        scales = kind == "weight" and math.prod(shape) > 1  # of a normalisation layer
        z = 0.1 * z + (1.0 if scales else 0.0)
    else:
        modulated = len(shape) == 5 and shape[0] == 1  # StyleGAN2 keeps a leading 1 before its convolutions
        z = z / math.sqrt(math.prod(shape[2:] if modulated else shape[1:]))
    return z.astype(np.float32)


def state(file: CheckpointFile, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Return all tensors of a checkpoint file, by official key."""
    values = {key: tensor(file.synthetic_prefix + key, shape) for key, shape in shapes.items()}
    _settle_spectral_norm(values)
    return values


def _settle_spectral_norm(values: dict[str, Array]) -> None:
    """Do one power iteration, in float64 and in place, so that u and v fit their weight."""
    for key in [k for k in values if k.endswith(".weight_orig")]:
        base = key.removesuffix("weight_orig")
        w = values[key].astype(np.float64).reshape(values[key].shape[0], -1)
        v = w.T @ values[base + "weight_u"].astype(np.float64)
        v /= np.linalg.norm(v)
        u = w @ v
        u /= np.linalg.norm(u)
        values[base + "weight_u"], values[base + "weight_v"] = u.astype(np.float32), v.astype(np.float32)
