"""Weights of the criteria from pairwise judgements, by the Analytic Hierarchy Process (Saaty 1980)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pymcdm.weights.subjective import AHP

from sadtalker_compare.criteria import CRITERIA, GROUPS
from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.plan import Judgements, read_toml

CONSISTENT = 0.1  # Saaty's limit of the consistency ratio
TOP = "groups"


@dataclass(frozen=True)
class Weights:
    """The weight of every criterion, and how consistent the judgements behind them are."""

    criteria: Mapping[str, float]
    """They sum to 1."""
    groups: Mapping[str, float]
    """They sum to 1."""
    consistency: Mapping[str, float]
    """Consistency ratio of every table of judgements; above 0.1 they contradict each other."""


def weigh(judgements: Judgements) -> Weights:
    """Return the weights that judgements lead to; tables that are left out are the package's own.

    Raises:
        ComparisonError: a judgement is missing, given twice, of no known pair, or not on Saaty's scale.
    """
    tables = {**read_toml(Path(__file__).parent / "judgements.toml"), **judgements}
    members = {TOP: list(GROUPS), **{g: [c.name for c in CRITERIA if c.group == g] for g in GROUPS}}
    if unknown := sorted(set(tables) - set(members)):
        raise ComparisonError(f"judgements: expected the tables {', '.join(members)}, got {', '.join(unknown)}")
    weights, consistency = {}, {}
    for table, names in members.items():
        method = AHP(matrix=_matrix(table, names, tables[table]))
        weights[table] = dict(zip(names, map(float, method()), strict=True))
        consistency[table] = max(float(method.get_cr()), 0.0)
    criteria = {c.name: weights[TOP][c.group] * weights[c.group][c.name] for c in CRITERIA}
    return Weights(criteria, weights[TOP], consistency)


def _matrix(table: str, names: Sequence[str], judged: Mapping[str, float]) -> npt.NDArray[np.float64]:
    matrix = np.zeros((len(names), len(names)))
    np.fill_diagonal(matrix, 1)
    for pair, value in judged.items():
        first, _, second = (part.strip() for part in pair.partition("/"))
        if first not in names or second not in names or first == second:
            raise ComparisonError(f"judgements.{table}: expected a pair of {', '.join(names)}, got {pair!r:.80}")
        if isinstance(value, bool) or value not in range(1, 10):
            raise ComparisonError(f"judgements.{table}: {pair}: expected a whole number from 1 to 9, got {value!r:.40}")
        row, column = names.index(first), names.index(second)
        if matrix[row, column]:
            raise ComparisonError(f"judgements.{table}: expected every pair once, got {first} and {second} twice")
        matrix[row, column], matrix[column, row] = value, 1 / value
    missing = [f"{names[i]} / {names[j]}" for i, j in np.argwhere(matrix == 0) if i < j]
    if missing:
        pairs = math.comb(len(names), 2)
        raise ComparisonError(f"judgements.{table}: expected {pairs} judgements, got none for {', '.join(missing)}")
    return matrix
