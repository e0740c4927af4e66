"""The list of producers: the arrays each makes, the networks it needs, its tolerance."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from .bench import Array, Bench

Values = Mapping[str, Tensor | Array]
Compute = Callable[[Bench], Values]


@dataclass(frozen=True)
class Tolerance:
    """Largest allowed absolute difference; `relative` ones are in standard deviations of the figure."""

    value: float
    relative: bool = False


@dataclass(frozen=True)
class Producer:
    """A function that makes all arrays of a file whose names match `arrays`."""

    name: str
    arrays: re.Pattern[str]
    inputs: re.Pattern[str]  # arrays of the file that the function reads instead
    networks: frozenset[str]
    exported: frozenset[str]  # the networks of `specs.SPECS` that it runs where the runtime is onnx
    tolerances: Mapping[str, Tolerance]  # by engine
    compute: Compute

    def engine(self, runtime: str) -> str:
        """Return the engine of the arrays when the tool is asked for `runtime`: numpy, torch or onnx."""
        if not self.networks:
            return "numpy"
        return "onnx" if runtime == "onnx" and self.exported else "torch"


PRODUCERS: list[Producer] = []
NOTHING = r"(?!)"
TOLERANCES = {"numpy": 1e-3, "torch": 1e-3, "onnx": 2e-3}  # outputs are of order one


def producer(
    arrays: str,
    *,
    networks: Collection[str] = (),
    exported: Collection[str] = (),
    inputs: str = NOTHING,
    tolerance: float | None = None,
    onnx_tolerance: float | None = None,
    relative: bool = False,
) -> Callable[[Compute], Compute]:
    """Register a function that makes the arrays whose whole name matches the pattern `arrays`.

    Tolerances not given are 1e-3, and 2e-3 for ONNX.
    """
    values = TOLERANCES if tolerance is None else dict.fromkeys(TOLERANCES, tolerance)
    if onnx_tolerance is not None:
        values = {**values, "onnx": onnx_tolerance}

    def register(compute: Compute) -> Compute:
        PRODUCERS.append(
            Producer(
                compute.__name__,
                re.compile(arrays),
                re.compile(inputs),
                frozenset(networks),
                frozenset(exported),
                {engine: Tolerance(value, relative) for engine, value in values.items()},
                compute,
            )
        )
        return compute

    return register
