"""Ranks candidates by two methods, and computes how much the order depends on the weights.

TOPSIS (Hwang and Yoon 1981) scores by the distance from the best and the worst values that occur, VIKOR (Opricovic
1998) by a compromise between the whole and the worst single criterion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymcdm.methods import TOPSIS, VIKOR

from sadtalker_compare.criteria import CRITERIA, Criterion
from sadtalker_compare.errors import ComparisonError

DRAWS = 2000
CONCENTRATION = 20.0  # of the Dirichlet distribution around the weights: a weight of 0.2 varies by some 0.09
STEPS = 21
Values = Mapping[str, Mapping[str, float | None]]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """The order of the candidates, and how sensitive it is to the weights."""

    candidates: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    """Those that were used."""
    left_out: Mapping[str, str]
    """Why others were not."""
    weights: Mapping[str, float]
    """Weights of the criteria that were used; they sum to 1."""
    topsis: Scores
    """[candidates], 1 is best."""
    vikor: Scores
    """[candidates], 0 is best."""
    shares: Scores
    """[candidates, ranks]: how often a candidate took a rank by TOPSIS when the weights were drawn at random."""
    group_weights: Scores
    """[steps], from 0 to 1."""
    group_scores: Mapping[str, Scores]
    """TOPSIS scores by group, [steps, candidates], where the group has that weight and the others share the rest."""

    @property
    def order(self) -> list[int]:
        """Return the candidates' indices, the best by TOPSIS first."""
        return [int(index) for index in np.argsort(-self.topsis, kind="stable")]


def rank(values: Values, weights: Mapping[str, float], seed: int = 0) -> Ranking:
    """Rank candidates by the values of their criteria, None where one is not known.

    A criterion that is not known of every candidate, or equal for all, cannot tell them apart and is left out; the
    others keep their proportions.

    Raises:
        ComparisonError: no criterion is left.
    """
    names = tuple(values)
    left_out, used = {}, []
    for criterion in CRITERIA:
        column = [values[name].get(criterion.name) for name in names]
        unknown = [name for name, value in zip(names, column, strict=True) if value is None]
        if unknown:
            left_out[criterion.name] = f"not known of {', '.join(unknown)}"
        elif len({round(float(value), 9) for value in column if value is not None}) == 1:
            left_out[criterion.name] = "equal for all"
        else:
            used.append(criterion)
    if not used:
        raise ComparisonError("ranking: expected a criterion that is known of all candidates and differs, got none")
    matrix = np.array([[float(values[name][c.name] or 0) for c in used] for name in names])
    types = np.array([1 if c.more_is_better else -1 for c in used])
    share = np.array([weights[c.name] for c in used])
    share /= share.sum()

    def topsis(at: Scores) -> Scores:
        return np.asarray(TOPSIS()(matrix, at, types, validation=False), float)

    rng = np.random.default_rng(seed)
    ranks = np.zeros((len(names), len(names)))
    for drawn in rng.dirichlet(share * CONCENTRATION + 1e-3, DRAWS):
        for place, index in enumerate(np.argsort(-topsis(drawn), kind="stable")):
            ranks[index, place] += 1 / DRAWS
    steps = np.linspace(0, 1, STEPS)
    groups = {c.group for c in used}
    return Ranking(
        names,
        tuple(used),
        left_out,
        {c.name: float(w) for c, w in zip(used, share, strict=True)},
        topsis(share),
        _vikor(matrix, share, types),
        ranks,
        steps,
        {g: np.array([topsis(_with_group(share, used, g, w)) for w in steps]) for g in groups if len(groups) > 1},
    )


def _vikor(matrix: Scores, share: Scores, types: npt.NDArray[np.int_]) -> Scores:
    with np.errstate(invalid="ignore", divide="ignore"):  # where candidates tie it divides 0 by 0
        return np.nan_to_num(np.asarray(VIKOR()(matrix, share, types, validation=False), float))


def _with_group(share: Scores, used: Sequence[Criterion], group: str, weight: float) -> Scores:
    inside = np.array([c.group == group for c in used])
    changed: Any = share.copy()
    changed[inside] *= weight / share[inside].sum()
    changed[~inside] *= (1 - weight) / share[~inside].sum()
    return np.asarray(changed, float)
