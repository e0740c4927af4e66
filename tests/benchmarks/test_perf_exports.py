"""Reading what perf_analyzer 2.51 wrote about three videos, one after the other (its export's tensors shortened)."""

import shutil
from pathlib import Path

import pytest
from perf_analyzer.exports import read_latency, read_profile, strip_tensors

EXPORTS = Path(__file__).parent / "exports"
REPORT, PROFILE = EXPORTS / "sadtalker.csv", EXPORTS / "sadtalker.profile.json"


def test_latency_in_milliseconds():
    latency = read_latency(REPORT)
    assert latency == {
        "mean": pytest.approx(6321.285),
        "p50": pytest.approx(5745.296),
        "p90": pytest.approx(7895.194),
        "p95": pytest.approx(7895.194),
        "p99": pytest.approx(7895.194),
    }


def test_a_report_of_two_levels_is_refused(tmp_path: Path):
    lines = REPORT.read_text().splitlines()
    report = tmp_path / "two.csv"
    report.write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(ValueError, match="expected one level of load, got 2"):
        read_latency(report)


def test_requests_in_the_order_of_sending():
    requests = read_profile(PROFILE)
    assert [request.sent for request in requests] == pytest.approx([0, 7.895258, 13.64065], abs=1e-5)
    first_fragments = [request.responses[0] - request.sent for request in requests]
    assert first_fragments == pytest.approx([2.576155, 2.300917, 1.777428], abs=1e-5)
    whole = [1000 * (request.responses[-1] - request.sent) for request in requests]
    assert sorted(whole)[1] == pytest.approx(read_latency(REPORT)["p50"], abs=0.01)


def test_stripping_leaves_the_times(tmp_path: Path):
    copy = tmp_path / PROFILE.name
    shutil.copy(PROFILE, copy)
    strip_tensors(copy)
    assert read_profile(copy) == read_profile(PROFILE)
    assert b"JFIF" in PROFILE.read_bytes()
    assert b"JFIF" not in copy.read_bytes()
    assert b"ftyp" not in copy.read_bytes()
