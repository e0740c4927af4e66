"""Short convolutions with fewer multiplications (Toom 1963, Cook 1966, Winograd 1980).

A filter of k taps, slid over n = m + k - 1 values, gives m outputs; written out that takes m * k multiplications. Read
as polynomials, filter and values can be evaluated at n points, multiplied there, and the outputs interpolated: n.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

POINTS = tuple(Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2", "4/3", "-4/3"))
"""Points at which polynomials are evaluated, in this order, then infinity; short fractions, so float32 loses little."""
FIVE_POINTS = tuple(Fraction(p) for p in ("0", "2/3", "-2/3", "3/2", "-3/2"))
"""The points if there are five: of the fractions tried, these lose least in bfloat16 with 4 outputs of 3 taps."""


@dataclass(frozen=True)
class ToomCook:
    """The matrices of filter(values) == outputs @ ((weights @ filter) * (inputs @ values)), all in float64.

    inputs [n, n], weights [n, taps], outputs [m, n].
    """

    inputs: Tensor
    weights: Tensor
    outputs: Tensor


def toom_cook(outputs: int, taps: int) -> ToomCook:
    """Return the matrices for `outputs` neighbouring outputs of a filter with `taps` taps, by exact arithmetic."""
    n = outputs + taps - 1
    # Correlation is the transpose of polynomial multiplication: evaluation and interpolation change places.
    inputs = _tensor(_inverse(_evaluation(n, n))).T
    scale = inputs.abs().amax(1, keepdim=True)  # evens out the sizes of what is multiplied
    return ToomCook(inputs / scale, _tensor(_evaluation(n, taps)) * scale, _tensor(_evaluation(n, outputs)).T)


Matrix = list[list[Fraction]]


def _evaluation(points: int, coefficients: int) -> Matrix:
    """Return a polynomial's values at the first points and, last, at infinity: [points, coefficients]."""
    finite = FIVE_POINTS if points - 1 == len(FIVE_POINTS) else POINTS[: points - 1]
    rows = [[point**power for power in range(coefficients)] for point in finite]
    return [*rows, [Fraction(power == coefficients - 1) for power in range(coefficients)]]


def _inverse(matrix: Matrix) -> Matrix:
    """Invert by Gauss-Jordan elimination."""
    n = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for r in range(n):
            if r != i and rows[r][i]:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[n:] for row in rows]


def _tensor(matrix: Matrix) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in matrix], dtype=torch.float64)
