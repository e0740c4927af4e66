"""`sadtalker batch`: which videos it makes, what it skips, what it writes down, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest
from command_line import COMMAND, in_process
from fake_triton import endless, error, fragment, video
from sadtalker_client import _batch


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working directory, with two portraits and two recordings, each with its own name in it."""
    for name in ("people/anna.png", "people/ben.jpg", "people/notes.txt", "talks/hello.wav", "talks/bye.mp3"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.stem.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_batch, "FIRST_PAUSE_SECONDS", 0.01)
    return tmp_path


@pytest.fixture
def batch(server, folder, capfd):
    """Run `sadtalker batch` in this process; return code, stdout, stderr."""
    with in_process(capfd) as command:
        yield lambda *arguments, into="out": command("batch", *arguments, "-o", into, "--url", server.url)


def sent(request):
    """Return the names of portrait and recording in a request."""
    return b"+".join(content[4:] for content in request.raw_input_contents[:2]).decode()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def results(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_every_portrait_speaks_every_recording(server, folder, batch):
    server.answer = lambda request: video(sent(request).encode(), b"!")
    done = batch("--portraits", "people", "--speech", "talks/*.wav", "talks/bye.mp3", "--seed", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"made": 4, "skipped": 0, "failed": 0, "results": "out/results.jsonl"}
    names = ["anna+bye", "anna+hello", "ben+bye", "ben+hello"]
    assert files(folder / "out") == [*(f"{name}.mp4" for name in names), "results.jsonl"]
    assert all((folder / "out" / f"{name}.mp4").read_bytes() == f"{name}!".encode() for name in names)
    assert all("seed" in [tensor.name for tensor in request.inputs] for request in server.requests)
    lines = {line["output"]: line for line in results(folder / "out")}
    assert lines.keys() == {f"out/{name}.mp4" for name in names}
    one = lines["out/anna+hello.mp4"]
    assert (one["portrait"], one["speech"]) == ("people/anna.png", "talks/hello.wav")
    assert (one["frames"], one["error"]) == (2, None) and one["seconds"] > 0
    assert {line["request_id"] for line in lines.values()} == {request.id for request in server.requests}
    assert "4/4 out/" in done.stderr and "out: 4 videos, 4 made, 0 there already" in done.stderr


def test_what_is_there_is_skipped_until_a_source_changes(server, folder, batch):
    command = ["--portraits", "people", "--speech", "talks/hello.wav"]
    assert batch(*command).returncode == 0
    done = batch(*command)
    assert done.returncode == 0 and "2 of 2 are there already" in done.stderr
    assert len(server.requests) == len(results(folder / "out")) == 2
    later = time.time() + 10
    os.utime("people/ben.jpg", (later, later))
    assert batch(*command).returncode == 0
    assert [sent(request) for request in server.requests[2:]] == ["ben+hello"]
    assert batch(*command, "--again").returncode == 0
    assert len(server.requests) == 5


def test_a_failure_does_not_stop_the_others_and_is_made_up_for_later(server, folder, batch):
    faceless = {"anna+hello"}

    def answer(request):
        if sent(request) in faceless:
            return [fragment(b"a part", 1, 3), error("INVALID_ARGUMENT: portrait: expected a face, got none")]
        return video(b"x")

    server.answer = answer
    command = ["--portraits", "people", "--speech", "talks", "--at-once", "1"]
    done = batch(*command)
    assert done.returncode == 1
    assert "1 of 4 videos failed; out/results.jsonl says why" in done.stderr
    assert "anna+hello.mp4" not in files(folder / "out") and len(files(folder / "out")) == 4
    (failed,) = (line for line in results(folder / "out") if line["error"])
    assert failed["error"] == "portrait: expected a face, got none"
    assert (failed["output"], failed["frames"]) == ("out/anna+hello.mp4", 0)
    faceless.clear()
    assert batch(*command).returncode == 0
    assert [line["output"] for line in results(folder / "out")][4:] == ["out/anna+hello.mp4"]


def test_a_full_queue_is_waited_for(server, folder, batch):
    refusals = [error("Exceeds maximum queue size")] * 2
    server.answer = lambda request: [refusals.pop()] if refusals else video(b"x")
    assert batch("--portraits", "people/anna.png", "--speech", "talks/hello.wav").returncode == 0
    assert len(server.requests) == 3
    (line,) = results(folder / "out")
    assert line["error"] is None


def test_a_server_that_stays_away_ends_the_batch(server, folder, batch):
    server.answer = lambda request: [grpc.StatusCode.UNAVAILABLE]
    done = batch("--portraits", "people", "--speech", "talks", "--at-once", "1")
    assert done.returncode == 3
    assert "is unavailable" in done.stderr
    assert len(results(folder / "out")) == 1, "the others are not tried"


def test_no_more_at_once_than_asked_for(server, folder, batch):
    lock, state = threading.Lock(), {"now": 0, "most": 0}

    def answer(request):
        with lock:
            state["now"] += 1
            state["most"] = max(state.values())
        time.sleep(0.2)
        with lock:
            state["now"] -= 1
        return video(b"x")

    server.answer = answer
    assert batch("--portraits", "people", "--speech", "talks", "--at-once", "2").returncode == 0
    assert state["most"] == 2


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_list_of_pairs(server, folder, batch, kind):
    rows = [
        {"portrait": "people/anna.png", "speech": "talks/bye.mp3", "output": ""},
        {"portrait": "people/ben.jpg", "speech": "talks/hello.wav", "output": "greetings/ben.mp4"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "csv":
        text = "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
    (folder / f"list.{kind}").write_text(text)
    assert batch("--pairs", f"list.{kind}").returncode == 0
    assert (folder / "out/anna+bye.mp4").is_file() and (folder / "out/greetings/ben.mp4").is_file()


def test_loops_need_no_recording(server, folder, batch):
    assert batch("--portraits", "people", "--idle", "3").returncode == 0
    assert files(folder / "out") == ["anna.mp4", "ben.mp4", "results.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--speech", "talks"], "expected either --portraits or --pairs"),
        (["--portraits", "people"], "expected speech for people/anna.png, or --idle or --driving, got none"),
        (["--portraits", "nobody.png", "--speech", "talks"], "found nothing at nobody.png"),
        (["--portraits", "people", "--speech", "no/*.wav"], "found nothing at no/*.wav"),
        (["--portraits", "talks", "--speech", "talks"], "in the folder talks, found none"),
        (["--portraits", "people", "same/anna.png", "--speech", "talks/bye.mp3"], "both become out/anna+bye.mp4"),
        (["--pairs", "unknown.csv"], "unknown.csv, line 2: expected portrait, speech, output, got voice"),
        (["--pairs", "missing.csv"], "missing.csv, line 3: expected a file, found none at people/carl.png"),
        (["--pairs", "broken.jsonl"], "broken.jsonl, line 1: expected JSON"),
        (["--pairs", "nothing.csv"], "cannot read nothing.csv"),
        (["--portraits", "people", "--speech", "talks", "--at-once", "0"], "expected a whole number above 0"),
    ],
)
def test_bad_input_is_named_before_anything_is_sent(server, folder, batch, arguments, expected):
    (folder / "same").mkdir()
    (folder / "same/anna.png").write_bytes(b"x")
    (folder / "unknown.csv").write_text("portrait,voice\npeople/anna.png,talks/bye.mp3\n")
    (folder / "missing.csv").write_text("portrait,speech\npeople/anna.png,talks/bye.mp3\npeople/carl.png,\n")
    (folder / "broken.jsonl").write_text("{portrait}\n")
    done = batch(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert server.requests == [] and not (folder / "out").exists()


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_what_is_complete_and_nothing_else(server, folder, interruption):
    server.answer = lambda request: video(b"x") if sent(request).startswith("anna") else endless()
    heed = ["env", "--default-signal=INT"]
    command = [*heed, *COMMAND, "batch", "--portraits", "people", "--speech", "talks/bye.mp3", "-o", "out"]
    with subprocess.Popen([*command, "--url", server.url], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not any(folder.glob("out/.ben*.part")) or not Path("out/anna+bye.mp4").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(interruption)
        assert process.wait(30) == 130
        assert process.stderr.read().endswith(b"sadtalker: cancelled\n")
    assert files(folder / "out") == ["anna+bye.mp4", "results.jsonl"]
    assert len(results(folder / "out")) == 1
    assert server.cancelled.wait(20)


def test_a_terminal_shows_bars(server, folder):
    def answer(request):
        for done in (50, 100):
            yield fragment(b"x", done, 100)
            time.sleep(0.4)
        yield from video(b"y")[1:]

    server.answer = answer
    leader, follower = os.openpty()
    pieces = []

    def drain():
        with contextlib.suppress(OSError):  # as a terminal's reader learns that nobody writes any more
            while piece := os.read(leader, 4096):
                pieces.append(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    command = [*COMMAND, "batch", "--portraits", "people", "--speech", "talks", "-o", "out", "--url", server.url]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    done = subprocess.run(command, env=environment, stdout=follower, stderr=follower, timeout=60)
    os.close(follower)
    reader.join(10)
    os.close(leader)
    shown = b"".join(pieces).decode()
    assert done.returncode == 0, shown
    assert "50/100" in shown and "anna+bye.mp4" in shown and "4/4" in shown
