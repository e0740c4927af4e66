"""Weights and ranks against values worked out by hand."""

import numpy as np
import pytest
from sadtalker_compare.criteria import CRITERIA, GROUPS, NAMES
from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.ranking import rank
from sadtalker_compare.weighting import CONSISTENT, weigh

EQUAL = dict.fromkeys(NAMES, 1 / len(NAMES))


def values(**changes: float | None) -> dict[str, float | None]:
    return {**dict.fromkeys(NAMES, 1.0), **changes}


def test_the_package_s_judgements_agree_with_each_other():
    weights = weigh({})
    assert sum(weights.criteria.values()) == pytest.approx(1)
    assert sum(weights.groups.values()) == pytest.approx(1)
    assert max(weights.consistency.values()) < CONSISTENT
    assert set(weights.criteria) == {criterion.name for criterion in CRITERIA}


def test_consistent_judgements_give_the_weights_that_they_mean():
    judged = {
        f"{GROUPS[0]} / {GROUPS[1]}": 2, f"{GROUPS[0]} / {GROUPS[2]}": 4, f"{GROUPS[0]} / {GROUPS[3]}": 4,
        f"{GROUPS[1]} / {GROUPS[2]}": 2, f"{GROUPS[1]} / {GROUPS[3]}": 2, f"{GROUPS[2]} / {GROUPS[3]}": 1,
    }  # fmt: skip
    weights = weigh({"groups": judged})
    assert [weights.groups[group] for group in GROUPS] == pytest.approx([0.5, 0.25, 0.125, 0.125])
    assert weights.consistency["groups"] == pytest.approx(0, abs=1e-9)


def test_contradicting_judgements_are_told_by_their_ratio():
    judged = {"first_fragment / seconds_per_frame": 9, "seconds_per_frame / memory": 9, "memory / first_fragment": 9}
    assert weigh({"performance": judged}).consistency["performance"] > 1


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        ({"groups": {}}, "expected 6 judgements, got none for"),
        ({"group": {}}, "expected the tables groups"),
        ({"performance": {"speed / memory": 2}}, "expected a pair of seconds_per_frame"),
        ({"performance": {"memory / first_fragment": 12}}, "expected a whole number from 1 to 9, got 12"),
        ({"performance": {"memory / first_fragment": 2, "first_fragment / memory": 2}}, "every pair once"),
    ],
)
def test_judgements_that_cannot_be_used_are_named(judged, message):
    with pytest.raises(ComparisonError, match=message):
        weigh(judged)


def test_the_better_candidate_comes_first_by_both_methods_and_all_weights():
    ranking = rank({"slow": values(seconds_per_frame=2.0), "fast": values(seconds_per_frame=0.1, identity=2.0)}, EQUAL)
    assert [ranking.candidates[i] for i in ranking.order] == ["fast", "slow"]
    assert ranking.topsis == pytest.approx([0, 1])
    assert ranking.vikor == pytest.approx([1, 0])
    assert ranking.shares[1, 0] == pytest.approx(1)
    assert {c.name for c in ranking.criteria} == {"seconds_per_frame", "identity"}
    assert ranking.left_out["memory"] == "equal for all"


def test_topsis_is_the_distance_from_best_and_worst():
    ranking = rank(
        {
            "a": values(identity=1.0, memory=9.0),
            "b": values(identity=0.5, memory=5.0),
            "c": values(identity=0.0, memory=1.0),
        },
        {**EQUAL, "identity": 0.6, "memory": 0.2},
    )
    assert ranking.weights == pytest.approx({"identity": 0.75, "memory": 0.25})
    best = np.hypot(0.25, 0)  # a is ideal in identity, worst in memory
    assert ranking.topsis[0] == pytest.approx(0.75 / (0.75 + best))
    assert ranking.topsis[1] == pytest.approx(0.5)
    assert ranking.order == [0, 1, 2]


def test_a_criterion_that_one_candidate_lacks_is_left_out_for_all():
    ranking = rank({"a": values(memory=None, identity=2.0), "b": values(memory=3.0)}, EQUAL)
    assert ranking.left_out["memory"] == "not known of a"


def test_equal_candidates_cannot_be_ranked():
    with pytest.raises(ComparisonError, match="differs"):
        rank({"a": values(), "b": values()}, EQUAL)


def test_the_order_follows_the_weight_of_a_group():
    ranking = rank({"fast": values(seconds_per_frame=0.1), "alike": values(identity=2.0)}, EQUAL)
    scores = ranking.group_scores["performance"]
    assert scores[0].argmax() == 1
    assert scores[-1].argmax() == 0
    assert ranking.shares.sum(0) == pytest.approx([1, 1])
    assert 0.2 < ranking.shares[0, 0] < 0.8


def test_the_same_seed_draws_the_same_weights():
    candidates = {"fast": values(seconds_per_frame=0.1), "alike": values(identity=2.0)}
    assert np.array_equal(rank(candidates, EQUAL, seed=5).shares, rank(candidates, EQUAL, seed=5).shares)
