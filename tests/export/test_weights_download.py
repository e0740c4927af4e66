"""`sadtalker-export weights --official` against a server that misbehaves on request."""

import hashlib
import http.server
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sadtalker_export import cli
from sadtalker_export.checkpoint import catalogue as published
from sadtalker_export.checkpoint import download
from sadtalker_export.checkpoint.catalogue import catalogue
from sadtalker_export.checkpoint.download import RemoteFile

CONTENT = random.Random(1).randbytes(3_000_000)
NAME = "SadTalker_V0.0.2_256.safetensors"
PARTIAL = NAME + ".partial"


@dataclass
class Mirror:
    """The server's behaviour, and what it was asked: the `Range` header of every request."""

    url: str = ""
    content: bytes = CONTENT
    cuts: list[int] = field(default_factory=list)  # bytes that each answer stops after
    errors: list[int] = field(default_factory=list)  # status codes to answer with first
    ranges: bool = True
    requests: list[str | None] = field(default_factory=list)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Yield a server on a free port, and a catalogue of one file that it can have."""
    state = Mirror()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            state.requests.append(wanted)
            if state.errors:
                self.send_error(state.errors.pop(0))
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/files/"
    official = RemoteFile(f"https://example.org/{NAME}", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(published, "CATALOGUE", {"256": (official,), "motion": ()})
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def run(directory: Path, mirror: Mirror) -> int:
    return cli.main(["weights", "--official", str(directory), "--mirror", mirror.url])


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_arrives_with_progress(tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "new" / "directory", mirror) == 0
    assert (tmp_path / "new" / "directory" / NAME).read_bytes() == CONTENT
    assert names(tmp_path / "new" / "directory") == [NAME]
    progress = capsys.readouterr()
    assert NAME[:20] in progress.err and "3.0/3.0 MB" in progress.err and progress.out == ""


def test_progress_counts_every_block(tmp_path: Path, mirror: Mirror) -> None:
    (official,) = catalogue({"256"}, mirror.url)
    steps: list[int] = []
    download.fetch(official, tmp_path, steps.append)
    assert steps[0] == 0 and steps[-1] == len(CONTENT) and len(steps) > 3 and steps == sorted(steps)


def test_an_intact_file_is_kept_and_nothing_asked(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    before = (tmp_path / NAME).stat().st_mtime_ns
    assert run(tmp_path, mirror) == 0
    assert mirror.requests == [] and (tmp_path / NAME).stat().st_mtime_ns == before
    assert "already there, intact" in capsys.readouterr().err


def test_an_earlier_partial_file_is_continued(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / PARTIAL).write_bytes(CONTENT[:1_234_567])
    assert run(tmp_path, mirror) == 0
    assert mirror.requests == ["bytes=1234567-"]
    assert (tmp_path / NAME).read_bytes() == CONTENT and names(tmp_path) == [NAME]


def test_a_complete_partial_file_only_needs_its_check(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / PARTIAL).write_bytes(CONTENT)
    assert run(tmp_path, mirror) == 0
    assert mirror.requests == [] and names(tmp_path) == [NAME]


def test_a_cut_connection_is_resumed_where_it_was_cut(tmp_path: Path, mirror: Mirror) -> None:
    mirror.cuts = [400_000] * 7  # more often than there are fruitless attempts
    assert run(tmp_path, mirror) == 0
    assert mirror.requests == [None] + [f"bytes={400_000 * n}-" for n in range(1, 8)]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(tmp_path: Path, mirror: Mirror) -> None:
    mirror.ranges = False
    mirror.cuts = [1_000_000]
    assert run(tmp_path, mirror) == 0
    assert mirror.requests == [None, "bytes=1000000-"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_server_that_never_finishes_is_given_up(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.cuts = [1_000_000] + [0] * 20
    assert run(tmp_path, mirror) == 1
    assert len(mirror.requests) == 1 + download.ATTEMPTS
    assert "1000000 of 3000000 bytes are there; 5 attempts" in one_line(capsys)
    assert names(tmp_path) == [PARTIAL]  # kept for the next time


def test_a_server_in_trouble_is_asked_again(tmp_path: Path, mirror: Mirror) -> None:
    mirror.errors = [503, 429]
    assert run(tmp_path, mirror) == 0
    assert len(mirror.requests) == 3 and names(tmp_path) == [NAME]


def test_a_file_that_is_not_offered_is_not_asked_for_twice(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.errors = [404]
    assert run(tmp_path, mirror) == 1
    assert f"{mirror.url}{NAME}: the server answered 404" in one_line(capsys)
    assert len(mirror.requests) == 1 and names(tmp_path) == []


@pytest.mark.parametrize("change", [-1, +1])
def test_a_file_of_another_size_is_refused_before_it_is_fetched(
    tmp_path: Path, mirror: Mirror, change: int, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.content = CONTENT[:-1] if change < 0 else CONTENT + b"x"
    assert run(tmp_path, mirror) == 1
    assert f"expected 3000000 bytes, the server offers {3_000_000 + change}" in one_line(capsys)
    assert NAME not in names(tmp_path)


def test_a_file_with_one_wrong_byte_is_not_kept(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    assert run(tmp_path, mirror) == 1
    found = hashlib.sha256(mirror.content).hexdigest()
    assert f"expected SHA-256 {hashlib.sha256(CONTENT).hexdigest()}, got {found}" in one_line(capsys)
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [500_000, 3_000_000, 3_500_000])
def test_a_partial_file_of_something_else_is_given_up(tmp_path: Path, mirror: Mirror, length: int) -> None:
    (tmp_path / PARTIAL).write_bytes(bytes(length))
    assert run(tmp_path, mirror) == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT and names(tmp_path) == [NAME]


@pytest.mark.parametrize("damage", [CONTENT[:-1], bytes(len(CONTENT))])
def test_a_wrong_file_of_the_name_is_moved_aside_and_replaced(
    tmp_path: Path, mirror: Mirror, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / NAME).write_bytes(damage)
    assert run(tmp_path, mirror) == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert (tmp_path / (NAME + ".rejected")).read_bytes() == damage
    assert "not the published file, moved to" in capsys.readouterr().err


def test_a_wrong_file_of_the_name_does_not_stay_when_the_server_fails(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / NAME).write_bytes(b"truncated")
    mirror.errors = [404]
    assert run(tmp_path, mirror) == 1
    assert names(tmp_path) == [NAME + ".rejected"]


def test_a_server_that_is_not_there(tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    mirror.url = "http://127.0.0.1:1/"
    assert run(tmp_path, mirror) == 1
    assert f"http://127.0.0.1:1/{NAME}: no connection to the server" in one_line(capsys)
    assert names(tmp_path) == []


def test_a_directory_that_cannot_be_written(tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run(tmp_path / "file", mirror) == 2
    assert str(tmp_path / "file") in one_line(capsys)
    assert mirror.requests == []


def test_a_mirror_that_is_no_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "--official", str(tmp_path), "--mirror", "/srv/files"]) == 2
    assert "expected a URL that begins with http:// or https://, got '/srv/files'" in one_line(capsys)


def test_a_file_without_a_known_digest_is_not_downloaded(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["weights", "--official", str(tmp_path), "--with", "restoreformer", "--mirror", mirror.url]) == 2
    assert "v1.3.4/RestoreFormer.pth is not known here" in one_line(capsys)
    assert names(tmp_path) == [] and mirror.requests == []


def test_the_catalogue_holds_the_published_releases() -> None:
    everything = catalogue({"256", "512", "motion", "enhancer", "background", "detectors"})
    assert [file.url.split("/releases/download/")[0] for file in everything] == (
        ["https://github.com/OpenTalker/SadTalker"] * 4
        + ["https://github.com/TencentARC/GFPGAN"]
        + ["https://github.com/xinntao/Real-ESRGAN"]
        + ["https://github.com/xinntao/facexlib"] * 3
    )
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in everything)
    assert sum(file.size for file in everything) == 2_565_628_183
    assert [file.name for file in catalogue({"256", "motion"})] == [
        "SadTalker_V0.0.2_256.safetensors",
        "mapping_00229-model.pth.tar",
        "mapping_00109-model.pth.tar",
    ]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the last line on stderr, which is the error; no traceback is above it."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text.rstrip().splitlines()[-1]
