"""Fixtures that tests of several trees share: the model repository with tiny networks in it, and a server over it."""

import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sadtalker_export.cli import main as sadtalker_export
from sadtalker_server import Server
from sadtalker_server._initialization import initialize
from speech_files import example_speech

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model repository from `sadtalker-server init`, the networks of the `tiny` preset exported into it."""
    repository = tmp_path_factory.mktemp("tiny") / "model_repository"
    initialize(repository)
    shutil.copytree(ROOT / "examples" / "jaw_from_loudness", repository / "jaw_from_loudness")
    for model in ("sadtalker", "sadtalker_live"):
        config = repository / model / "config.pbtxt"
        models = '"audio2coeff"', '"audio2coeff jaw_from_loudness not_there"'
        config.write_text(config.read_text().replace(f"string_value: {models[0]}", f"string_value: {models[1]}"))
    live = repository / "sadtalker_live" / "config.pbtxt"  # too large a piece is quickly sent
    large, small = (f'"max_speech_megabytes" value: {{ string_value: "{number}" }}' for number in (64, 4))
    assert large in live.read_text()
    live.write_text(live.read_text().replace(large, small))
    assert sadtalker_export(["onnx", "--weights", "tiny", "--repository", str(repository)]) == 0
    return repository


@pytest.fixture(scope="session")
def tiny_server(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a running server with the networks of the `tiny` preset."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with Server(tiny_repository, tritonserver="embedded", log_file=log) as server:
        yield server


@pytest.fixture(scope="session")
def portrait_path() -> Path:
    """Return the example portrait."""
    return ROOT / "examples" / "portrait.jpg"


@pytest.fixture(scope="session")
def speech_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first 0.9 s of the example speech: 22 frames, so that the last chunk is a partial one."""
    return example_speech(tmp_path_factory.mktemp("speech"), 0.9)


@pytest.fixture
def metric(tiny_server: Server) -> Callable[..., float]:
    """Return a reader of the metrics page: the sum of a metric's samples that carry the given labels."""

    def read(name: str, **labels: str) -> float:
        with urllib.request.urlopen(tiny_server.metrics_url) as page:
            lines = page.read().decode().splitlines()
        samples = [line for line in lines if re.match(re.escape(name) + r"[{ ]", line)]
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples if all(label in line for label in wanted))

    return read
