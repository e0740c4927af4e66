"""Around a video in the real server: listeners that stop reading, the log's line, OpenTelemetry's spans."""

import json
import re
import shutil
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sadtalker_client import InvalidInputError, SadTalkerClient, StalledError, _acknowledgements
from sadtalker_server import Server
from speech_files import example_speech
from trace_collector import CLIENT, SERVER, Collector, Span, environment, trace_arguments

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 100_000  # bytes unread: a few of the fragments that made-up networks give
IN_FLIGHT = 3 * 5  # frames of a video that are rendered ahead of what is sent
PATIENCE = 4  # seconds


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="module")
def server(
    tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory, collector: Collector, log: Path
) -> Iterator[Server]:
    """Yield a server that traces every request, and lets little pass unread."""
    repository = tmp_path_factory.mktemp("streams") / "model_repository"
    shutil.copytree(tiny_repository, repository)
    config = repository / "sadtalker" / "config.pbtxt"
    text = config.read_text()
    for name, value in (("unacknowledged_megabytes", LIMIT / 1e6), ("stalled_seconds", PATIENCE)):
        text, changed = re.subn(rf'("{name}" value: {{ string_value: )"\d+"', rf'\1"{value}"', text)
        assert changed == 1
    config.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(collector).items():
            patch.setenv(name, value)
        arguments = trace_arguments(collector)
        with Server(repository, tritonserver="embedded", log_file=log, extra_arguments=arguments) as server:
            yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[SadTalkerClient]:
    with SadTalkerClient(server.grpc_url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first 2.4 s of the example speech: 60 frames."""
    return example_speech(tmp_path_factory.mktemp("speech"), 2.4)


@pytest.fixture
def metric(server: Server) -> Callable[[str], float]:
    """Return a reader of single metrics, named with their labels as the page writes them."""

    def read(name: str) -> float:
        with urllib.request.urlopen(server.metrics_url) as page:
            [line] = [line for line in page.read().decode().splitlines() if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])

    return read


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make acknowledgements frequent enough for the small limit."""
    monkeypatch.setattr(_acknowledgements, "EVERY_BYTES", LIMIT // 8)


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"event": "video"')]


@pytest.mark.usefixtures("seldom")
def test_a_video_waits_for_a_slow_listener_and_is_the_same(
    client: SadTalkerClient, portrait_path: Path, speech: Path, metric: Callable[[str], float]
) -> None:
    at_once = list(client.animate(portrait_path, speech))
    sizes = [len(fragment.data) for fragment in at_once]
    assert sum(sizes) > 4 * LIMIT, "too small a video to show anything"
    before = metric("sadtalker_frames_rendered_total")
    with client.animate(portrait_path, speech) as animation:
        slowly = [next(animation)]
        _until(lambda: metric("sadtalker_videos_paused") == 1)
        time.sleep(PATIENCE / 2)  # in which all of it could be rendered
        rendered = metric("sadtalker_frames_rendered_total") - before
        sent = next(n for n in range(len(sizes)) if sum(sizes[:n]) >= LIMIT)  # fragments
        assert rendered <= sent * 5 + IN_FLIGHT + 5 < at_once[-1].frames_total
        slowly += animation
    assert [fragment.data for fragment in slowly] == [fragment.data for fragment in at_once]
    assert metric("sadtalker_videos_paused") == 0


@pytest.mark.usefixtures("seldom")
def test_a_listener_that_stops_reading_is_given_up(
    client: SadTalkerClient, portrait_path: Path, speech: Path, metric: Callable[[str], float], log: Path
) -> None:
    stalled = 'sadtalker_videos_total{outcome="stalled"}'
    before = metric(stalled)
    with client.animate(portrait_path, speech) as animation:
        next(animation)
        _until(lambda: metric(stalled) == before + 1)
        assert metric("sadtalker_videos_in_flight") == 0
        with pytest.raises(StalledError, match="expected an acknowledgement within 4 s, got none"):
            animation.read()
    line = _lines(log)[-1]
    assert line["outcome"] == "stalled"
    assert isinstance(line["paused_seconds"], float) and line["paused_seconds"] >= PATIENCE


def test_callers_that_never_acknowledge_have_the_limit_as_their_cap(
    client: SadTalkerClient, portrait_path: Path, speech: Path, speech_path: Path
) -> None:
    """Here none do: a second of video is far below what the client acknowledges at a time."""
    with pytest.raises(StalledError, match=rf"limit {LIMIT}"):
        client.animate(portrait_path, speech).read()
    assert client.poster(portrait_path, speech_path)


@pytest.mark.usefixtures("seldom")
def test_every_video_has_a_line_in_the_log(
    client: SadTalkerClient, portrait_path: Path, speech_path: Path, log: Path
) -> None:
    before = len(_lines(log))
    size = len(client.animate(portrait_path, speech_path, idle=None, seed=5).read())
    with pytest.raises(InvalidInputError):
        client.animate(b"SECRET no picture", speech_path).read()
    with pytest.raises(InvalidInputError):
        client.animate(portrait_path, speech_path, crop="SECRET").read()
    _until(lambda: len(_lines(log)) == before + 3)
    finished, *refused = _lines(log)[before:]
    assert (finished["outcome"], finished["frames"], finished["bytes"]) == ("finished", 22, size)
    assert finished["input_bytes"] == {
        "image": portrait_path.stat().st_size,
        "audio": speech_path.stat().st_size,
    }
    assert re.fullmatch("[0-9a-f-]{32,}", str(finished["request_id"]))
    stages = finished["stage_seconds"]
    assert isinstance(stages, dict)
    assert {"decoding", "coefficients", "render", "encode"} <= stages.keys()
    assert all(0 < seconds < 60 for seconds in stages.values())
    assert [line["outcome"] for line in refused] == ["refused", "refused"]
    assert str(refused[0]["reason"]).startswith("INVALID_ARGUMENT: image")
    assert str(refused[1]["reason"]).startswith("INVALID_ARGUMENT: crop: expected")
    assert "SECRET" not in json.dumps(refused)


@pytest.mark.usefixtures("seldom")
def test_calls_of_networks_hang_under_their_video(
    client: SadTalkerClient, portrait_path: Path, speech_path: Path, collector: Collector
) -> None:
    """Every span of Triton's and of ours arrives, each under the one that it serves."""
    client.animate(portrait_path, speech_path, seed=6).read()

    def video() -> list[Span]:
        """Return the spans of the first video of five chunks, maybe another test's, once all have arrived."""
        chunks = Counter(span.trace for span in collector.spans if (span.name, span.kind) == ("face_renderer", SERVER))
        known = {span.trace for span in collector.spans if span.name == "InferRequest"}
        whole = [trace for trace, count in chunks.items() if count == 5 and trace in known]
        spans = [span for span in collector.spans if span.trace in whole[:1]]
        ids = {"", *(span.id for span in spans)}
        return spans if all(span.parent in ids for span in spans) else []

    _until(lambda: len(video()) > 0)
    spans = video()
    by_id = {span.id: span for span in spans}
    [root] = [span for span in spans if not span.parent]
    parents = defaultdict(set)
    for span in spans:
        if span is not root:
            parents[span.name, span.kind].add((by_id[span.parent].name, by_id[span.parent].kind))
    assert root.name == "InferRequest"
    [of_video] = [span for span in spans if span.name == "sadtalker"]
    assert of_video.parent == root.id
    request = (of_video.name, of_video.kind)
    for model in ("render_frames", "audio2coeff"):
        assert parents[model, CLIENT] == {request}
    assert parents["audio2coeff", SERVER] == {("audio2coeff", CLIENT)}
    assert parents["audio2exp", CLIENT] == {("audio2coeff", SERVER)}
    assert parents["audio2exp", SERVER] == {("audio2exp", CLIENT)}
    assert parents["face_renderer", SERVER] == {("render_frames", CLIENT)}
    # For chunks; and for the portrait, where it was not in the cache.
    assert {("render_frames", CLIENT)} <= parents["motion", SERVER] <= {("motion", CLIENT), ("render_frames", CLIENT)}
    for span in spans:
        if (span.name, span.kind) == ("face_renderer", SERVER):
            call = by_id[span.parent]
            assert call.start <= span.start <= span.end <= call.end
