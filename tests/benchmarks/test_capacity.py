"""The queues against what queueing theory knows of them."""

import math

import capacity
import numpy as np
import pytest
from capacity_simulation import Autoscaler, Batches, Video, closed_loop, cluster, finish_times

HOUR = 3600


def arrivals(rate: float, count: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).exponential(1 / rate, count))


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_single_chunks_wait_as_in_an_m_d_1_queue(utilisation: float) -> None:
    instants = arrivals(utilisation, 200_000)
    waits = finish_times(instants, Batches(fixed=0.25, each=0.75, most=1)) - instants - 1.0
    assert waits.min() >= -1e-9
    assert waits.mean() == pytest.approx(utilisation / (2 * (1 - utilisation)), rel=0.05)


def test_batches_take_more_than_one_at_a_time_could() -> None:
    instants = arrivals(1.5, 20_000)
    batches = Batches(fixed=0.5, each=0.5, most=4)  # one by one 1 a second, four by four 1.6
    finished = finish_times(instants, batches)
    assert (finished - instants).max() < 200 < (finish_times(instants, Batches(0.5, 0.5, 1)) - instants).max()
    assert np.all(np.diff(finished) >= 0) and np.all(finished - instants >= batches.seconds(1) - 1e-9)
    sizes = np.unique(finished, return_counts=True)[1]
    assert sizes.sum() == len(instants) and sizes.max() == 4


def test_clients_share_a_node_as_can_be_worked_out() -> None:
    batches = Batches(fixed=1.0, each=0.5, most=4)
    alone = Video(preparation=2.0, chunks=6, in_flight=1)
    assert closed_loop(1, alone, batches) == pytest.approx((6 / (2 + 6 * 1.5), 1.0))
    ahead = Video(preparation=2.0, chunks=6, in_flight=3)
    assert closed_loop(1, ahead, batches) == pytest.approx((6 / (2 + 2 * 2.5), 3.0))
    unprepared = Video(preparation=0.0, chunks=6, in_flight=1)
    assert closed_loop(4, unprepared, batches) == pytest.approx((4 / 3.0, 4.0)), "in step, four by four"


def test_many_clients_keep_a_node_busy() -> None:
    batches = Batches(fixed=1.0, each=0.5, most=4)
    rate, size = closed_loop(16, Video(preparation=2.0, chunks=6, in_flight=3), batches)
    assert rate == pytest.approx(4 / 3.0, rel=0.03) and size == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("scaler", [None, Autoscaler()])
def test_live_and_waiting_videos_obey_little_s_law(scaler: Autoscaler | None) -> None:
    rate = np.full(6 * HOUR, 2.0)
    rate[-HOUR:] = 0  # all that came has gone at the end
    trace = cluster(rate, mean_seconds=30, places=4, scaler=scaler, gpus=17, random=np.random.default_rng(1))
    assert trace.live[-1] == trace.waiting[-1] == 0
    assert trace.began.sum() == trace.arrived.sum()
    assert trace.waiting.sum() == trace.waits().sum(), "mean number waiting = arrival rate x mean wait"
    assert trace.live.sum() / trace.began.sum() == pytest.approx(30, rel=0.03)
    assert np.all(trace.waits() >= 0)
    in_system = np.cumsum(trace.arrived - trace.began)
    assert np.array_equal(in_system, trace.waiting)


@pytest.mark.parametrize(("gpus", "utilisation"), [(3, 0.8), (25, 0.9)])
def test_videos_wait_as_erlang_says(gpus: int, utilisation: float) -> None:
    places, mean = 4, 60.0
    rate = np.full(60 * HOUR, utilisation * gpus * places / mean)
    trace = cluster(rate, mean, places, None, gpus, np.random.default_rng(2))
    servers, load = gpus * places, utilisation * gpus * places
    blocking = 1.0
    for n in range(1, servers + 1):  # Erlang B, then C
        blocking = load * blocking / (n + load * blocking)
    waiting = blocking / (1 - utilisation * (1 - blocking))
    waits = trace.waits()[HOUR:]
    assert waits.mean() == pytest.approx(waiting * mean / (servers * (1 - utilisation)), rel=0.15)
    assert trace.live.max() <= servers


def test_new_gpus_serve_after_the_lag_and_old_ones_are_kept_for_a_while() -> None:
    scaler = Autoscaler(target=1.0, lag=180, patience=600)
    rate = np.concatenate([np.full(HOUR, 0.5), np.full(HOUR, 5.0), np.full(2 * HOUR, 0.5)])
    trace = cluster(rate, 30, 4, scaler, gpus=4, random=np.random.default_rng(3))
    before, settled = trace.serving[HOUR - 1], trace.serving[2 * HOUR - 1]
    assert np.all(trace.serving[HOUR : HOUR + scaler.lag] <= before), "the burst has to wait for the lag"
    assert settled >= math.ceil(5.0 * 30 / 4) > before
    assert trace.waiting[HOUR : HOUR + 600].max() > 50 and trace.waiting[2 * HOUR - 600 :].max() < 30
    assert trace.serving[2 * HOUR : 2 * HOUR + scaler.patience - scaler.period].min() >= 5.0 * 30 / 4, "looks back"
    assert trace.serving[-1] < settled / 4
    assert np.all(trace.paid >= np.ceil(trace.live / 4))


def test_the_same_seed_gives_the_same_cluster() -> None:
    runs = [cluster(np.full(HOUR, 3.0), 30, 4, Autoscaler(), 5, np.random.default_rng(7)) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(vars(runs[0]).values(), vars(runs[1]).values(), strict=True))


def perf_result(fixed: float, each: float) -> dict:
    """Return what perf.py would have measured of a node whose executions take `fixed + n * each` seconds."""
    renderer = {"model": "face_renderer", "kind": "sweep"}
    levels = [
        renderer
        | {"concurrency": n, "per_second": n / (fixed + n * each), "models": {"face_renderer": {"mean_batch": n}}}
        for n in (1, 2, 4)
    ]
    uses = {name: {"requests": 2, "compute_ms": 100.0} for name in capacity.PREPARATION}
    for clients in (1, 2, 4):
        video = Video(preparation=0.5, chunks=3, in_flight=3)
        frames = closed_loop(clients, video, Batches(fixed, each, 4))[0] * 5
        sweep = {"model": "sadtalker", "kind": "sweep", "concurrency": clients, "requests": 2, "models": uses}
        levels.append(sweep | {"frames_per_second": frames, "per_second": frames / 15})
    return {"levels": levels}


def test_a_node_is_what_was_measured_of_it() -> None:
    node = capacity.measured_node(perf_result(fixed=0.2, each=0.1))
    assert (node.batches.fixed, node.batches.each) == pytest.approx((0.2, 0.1))
    assert node.preparation == pytest.approx(0.5)
    assert node.frames_per_second == pytest.approx(20 / 0.6)
    assert (node.places, node.stretch) == (1, 1.0)
    slow = capacity.measured_node(perf_result(fixed=0.2, each=0.95))
    assert slow.stretch == pytest.approx(25 / 5), "it renders 5 frames a second, and they are watched at 25"


def test_a_node_that_gains_nothing_from_batches_has_no_fixed_time() -> None:
    node = capacity.measured_node(perf_result(fixed=-0.05, each=1.0))
    assert node.batches.fixed == 0 and node.batches.each == pytest.approx(0.975, rel=0.01)


def test_the_simulated_node_is_compared_with_the_measured_one() -> None:
    result = perf_result(fixed=0.2, each=0.1)
    rows = capacity.validation(capacity.measured_node(result), result)
    assert [row["clients"] for row in rows] == [1, 2, 4]
    assert all(row["simulated_over_measured"] == pytest.approx(1, rel=0.01) for row in rows)
    result["levels"][-1]["frames_per_second"] *= 2
    result["levels"][-1]["per_second"] *= 2
    assert capacity.validation(capacity.measured_node(result), result)[-1]["simulated_over_measured"] < 0.55


def test_a_result_without_the_renderer_is_refused() -> None:
    with pytest.raises(SystemExit, match="no runs of face_renderer"):
        capacity.measured_node({"levels": []})


def test_an_assumed_gpu_has_as_many_places_as_it_is_fast() -> None:
    node = capacity.assumed_node(110)
    assert node.frames_per_second == pytest.approx(110) and node.places == 4 and node.stretch == 1


def test_costs_follow_from_gpus_that_are_paid() -> None:
    node, mean = capacity.assumed_node(100), 30.0
    rate = np.full(4 * HOUR, 0.8 * 10 * node.places / mean)
    trace = cluster(rate, mean, node.places, None, 10, np.random.default_rng(0))
    row = capacity.summary(10, trace, node, price=2.0)
    assert row["cost_per_hour_of_video"] == pytest.approx(2.0 / (node.places * 0.8), rel=0.03)
    assert row["places_taken"] == pytest.approx(0.8, rel=0.03)
    assert row["videos"] == trace.arrived.sum()
