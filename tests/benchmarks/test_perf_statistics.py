"""Reports made of Triton's statistics."""

import pytest
from perf_analyzer.model_statistics import ModelUse, difference, rate
from tritonclient.grpc import service_pb2


def statistics(name: str, batches: dict[int, int], queue_ms: float, infer_ms: float) -> service_pb2.ModelStatistics:
    """Return statistics as Triton sums them up: items, not requests, are what makes a batch."""
    model = service_pb2.ModelStatistics(name=name, execution_count=sum(batches.values()))
    requests = sum(size * count for size, count in batches.items())
    model.inference_stats.success.count = requests
    model.inference_stats.queue.ns = int(queue_ms * requests * 1e6)
    model.inference_stats.compute_infer.ns = int(infer_ms * requests * 1e6)
    for size, count in batches.items():
        model.batch_stats.add(batch_size=size).compute_infer.count = count
    return model


def test_difference_of_two_snapshots():
    before = {
        "face_renderer": statistics("face_renderer", {1: 8}, 10, 100),
        "motion": statistics("motion", {1: 3}, 1, 1),
    }
    after = {
        "face_renderer": statistics("face_renderer", {1: 10, 3: 2}, 20, 100),
        "motion": statistics("motion", {1: 3}, 1, 1),
    }
    uses = difference(before, after)
    assert list(uses) == ["face_renderer"]  # the other one did nothing
    queue = (16 * 20 - 8 * 10) / 8
    assert uses["face_renderer"] == ModelUse(8, 4, pytest.approx(queue), pytest.approx(100), {1: 2, 3: 2})


def test_rate_counts_neither_the_start_nor_the_end():
    samples = [(0.0, 7), (1.0, 7), (2.0, 9), (3.0, 9), (4.0, 11), (5.0, 13), (9.0, 13)]
    assert rate(samples) == pytest.approx((13 - 9) / (5 - 2))


def test_no_rate_when_everything_finished_at_once():
    assert rate([(0.0, 0), (1.0, 5), (2.0, 5)]) is None
    assert rate([]) is None
