"""The command `sadtalker`: files, exit codes, messages; as a process where signals, pipes and terminals matter."""

import json
import os
import re
import signal
import struct
import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest
from command_line import COMMAND, in_process
from fake_triton import endless, error, final, fragment
from sadtalker_client import Fragment
from sadtalker_client._migration import DROPPED, RENAMED, UNCHANGED
from sadtalker_client._progress import Meter


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a portrait and a recording in it."""
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.wav").write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sadtalker(folder, capfdbinary):
    """Return a function that runs a command line in this process and returns its exit code and output."""
    with in_process(capfdbinary) as run:
        yield run


def message(done):
    """Return the one line of a failed command, which says nothing on standard output."""
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    return line


def test_animate_writes_the_video_and_says_how_fast(server, folder, sadtalker):
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--url", server.url)
    assert done.returncode == 0
    assert (folder / "out.mp4").read_bytes() == b"onetwothree"
    assert b"out.mp4: 3 frames in " in done.stderr
    assert b"first fragment after" in done.stderr
    assert b"real-time factor" in done.stderr
    assert [tensor.name for tensor in server.requests[0].inputs] == ["image", "audio"]


def test_options_reach_the_server(server, sadtalker):
    options = ["--pose-style=7", "--expression-scale=1.5", "--head-motion-scale=0.5", "--still", "--seed=9"]
    options += ["--yaw=0:0,1.5:20", "--pitch=-5", "--no-blink", "--blink-rate=12", "--blink-times=1,2.5", "--size=512"]
    options += ["--crop=full", "--face-index=2", "--enhance=gfpgan", "--settle=0.5"]
    metadata = ["--metadata", "key=a=b"]
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--url", server.url, *options, *metadata)
    assert done.returncode == 0
    request = server.requests[0]
    contents = {
        tensor.name: content for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    assert contents["pose_style"] == b"\7\0\0\0"
    assert contents["expression_scale"] == b"\0\0\xc0\x3f"
    assert contents["still"] == b"\1"
    assert contents["seed"] == b"\x09" + b"\0" * 7
    assert contents["blink"] == b"\0"
    assert contents["size"] == b"\0\2\0\0"
    assert contents["crop"] == b"\4\0\0\0full"
    assert contents["face_index"] == b"\2\0\0\0"
    assert contents["enhance"] == b"\6\0\0\0gfpgan"
    for name, floats in {
        "head_motion_scale": [0.5],
        "yaw": [0, 0, 1.5, 20],
        "pitch": [0, -5],
        "blink_rate": [12],
        "settle": [0.5],
        "blink_times": [1, 2.5],
    }.items():
        assert contents[name] == struct.pack(f"<{len(floats)}f", *floats)
    assert server.metadata[0]["key"] == "a=b"


def test_a_request_may_be_named(server, sadtalker):
    named = ["--request-id", "order-17", "--url", server.url]
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--json", *named)
    assert json.loads(done.stdout)["request_id"] == "order-17"
    assert sadtalker("poster", "a.png", "-o", "out.png", *named).returncode == 0
    assert [request.id for request in server.requests] == ["order-17", "order-17"]


def test_large_files_are_sent_on_demand_only(server, folder, sadtalker):
    (folder / "large.png").write_bytes(b"x" * (32 * 2**20 + 1))
    command = ["animate", "large.png", "b.wav", "-o", "out.mp4", "--url", server.url]
    done = sadtalker(*command)
    assert done.returncode == 2
    assert message(done) == "sadtalker: portrait: expected at most 33554432 bytes (32 MiB), got 33554433"
    assert server.requests == []
    assert sadtalker(*command, "--any-size").returncode == 0


def test_version(sadtalker):
    done = sadtalker("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"sadtalker {metadata.version('sadtalker-triton')}\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--preprocess", "full"], "--preprocess is --crop HOW here"),
        (["--enhancer=gfpgan"], "--enhancer is --enhance gfpgan or --enhance restoreformer here"),
        (
            ["--driven_audio", "b.wav", "--source_image", "a.png", "--result_dir", "out"],
            "--driven_audio is the second argument, SPEECH here; --source_image is the first argument, PORTRAIT here; "
            "--result_dir is -o FILE here",
        ),
        (["--cpu"], "--cpu does not exist here (set on the server)"),
    ],
)
def test_flags_of_the_original_are_answered_with_ours(sadtalker, flags, expected):
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", *flags)
    assert done.returncode == 2
    assert message(done) == f"sadtalker: {expected}; docs/migration.md lists the flags of the original"


def test_the_migration_guide_lists_the_same_flags(sadtalker):
    guide = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
    rows = dict(re.findall(r"^\| `(--\w+)` \| (.+?) \|", guide, re.MULTILINE))
    assert rows.keys() == {*RENAMED, *DROPPED, *UNCHANGED}
    for flag, answer in RENAMED.items():
        assert answer.split()[-1] in rows[flag], flag
    for flag in DROPPED:
        assert rows[flag] == "none", flag
    options = sadtalker("animate", "--help").stdout.decode()
    for answer in {*RENAMED.values(), *UNCHANGED}:
        assert answer.split()[-1] in options if answer.startswith("the ") else f"{answer.split()[0]} " in options


def test_a_video_may_drive_it_and_a_loop_needs_nothing(server, folder, sadtalker):
    (folder / "face.mp4").write_bytes(b"film")
    assert sadtalker("animate", "a.png", "--driving", "face.mp4", "-o", "o.mp4", "--url", server.url).returncode == 0
    assert sadtalker("animate", "a.png", "--idle", "3", "-o", "o.mp4", "--url", server.url).returncode == 0
    driven, idle = ([tensor.name for tensor in request.inputs] for request in server.requests)
    assert driven == ["image", "driving"]
    assert idle == ["image", "idle"]


def test_a_poster_is_a_file_of_its_own(server, folder, sadtalker):
    server.answer = lambda request: [fragment(b"PNG", 1, 1), final()]
    done = sadtalker("poster", "a.png", "-o", "poster.png", "--seed", "2", "--url", server.url)
    assert done.returncode == 0
    assert (folder / "poster.png").read_bytes() == b"PNG"
    assert [tensor.name for tensor in server.requests[0].inputs] == ["image", "seed", "poster"]
    assert sadtalker("poster", "a.png", "-o", "-", "--url", server.url).stdout == b"PNG"


def test_json_figures(server, sadtalker):
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--url", server.url, "--json")
    figures = json.loads(done.stdout)
    assert figures["output"] == "out.mp4"
    assert figures["request_id"] == server.requests[0].id
    assert (figures["frames"], figures["bytes"], figures["video_seconds"]) == (3, 11, 0.12)
    assert 0 < figures["first_fragment_seconds"] <= figures["seconds"]
    assert figures["real_time_factor"] > 0


def test_the_stream_goes_to_a_pipe(server, folder):
    command = [*COMMAND, "animate", "a.png", "b.wav", "-o", "-", "--url", server.url]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"onetwothree"


def test_a_reader_that_leaves_ends_it(server, folder):
    server.answer = lambda request: endless()
    command = [*COMMAND, "animate", "a.png", "b.wav", "-o", "-", "--url", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr.read() == b"sadtalker: the reader of standard output is gone; cancelled\n"
    assert server.cancelled.wait(20)


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_cancels_and_leaves_no_file(server, folder, interruption):
    server.answer = lambda request: endless()
    # Whoever started the tests may ignore interruptions, as a shell's background jobs do; children would inherit that.
    heed = ["env", "--default-signal=INT"]
    command = [*heed, *COMMAND, "animate", "a.png", "b.wav", "-o", "out.mp4", "--url", server.url]
    before = set(folder.iterdir())
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not (server.requests and set(folder.iterdir()) != before) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set(folder.iterdir()) != before
        process.send_signal(interruption)
        assert process.wait(30) == 130
        assert process.stderr.read() == b"sadtalker: cancelled\n"
    assert set(folder.iterdir()) == before
    assert server.cancelled.wait(20)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no.png", "b.wav", "-o", "out.mp4"], "portrait: cannot read no.png: No such file or directory"),
        (["a.png", "empty.wav", "-o", "out.mp4"], "speech: expected the content of a file, got 0 bytes (empty.wav)"),
        (["a.png", "b.wav", "-o", "no/out.mp4"], "output: expected a file in a directory that exists, got no/out.mp4"),
        (["a.png", "b.wav", "-o", "-", "--json"], "output: expected a file together with --json"),
        (["a.png", "b.wav", "-o", "out.mp4", "--tls-ca", "no.pem"], "tls: root_certificates: cannot read no.pem"),
        (["a.png", "b.wav", "-o", "out.mp4", "--seed", str(2**63)], "seed: expected a 64-bit integer"),
    ],
)
def test_bad_input_is_code_2(server, folder, sadtalker, arguments, expected):
    (folder / "empty.wav").touch()
    done = sadtalker("animate", *arguments, "--url", server.url)
    assert done.returncode == 2
    assert message(done).startswith(f"sadtalker: {expected}")
    assert server.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["animate", "a.png"],
        ["animate", "a", "b", "-o", "c", "--metadata", "x"],
        ["animate", "a", "b", "-o", "c", "--yaw", "0:0,1"],
        ["animate", "a", "b", "-o", "c", "--blink-times", "soon"],
    ],
)
def test_bad_usage_is_code_2(sadtalker, arguments):
    done = sadtalker(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: sadtalker")


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("INVALID_ARGUMENT: the portrait shows no face", 2, "the portrait shows no face"),
        ("Exceeds maximum queue size", 3, "the queue of {url} is full: Exceeds maximum queue size"),
        ("INTERNAL: one\n  two", 1, "{url} failed (INTERNAL): one two"),
    ],
)
def test_what_the_server_says_decides_the_code(server, folder, sadtalker, text, code, expected):
    server.answer = lambda request: [fragment(b"one", 1, 3), error(text)]
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--url", server.url)
    assert done.returncode == code
    request_id = server.requests[0].id
    assert message(done) == f"sadtalker: {expected.format(url=server.url)} (request {request_id})"
    assert not (folder / "out.mp4").exists()


def test_no_server_is_code_3(sadtalker, free_port):
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--url", f"127.0.0.1:{free_port}")
    assert done.returncode == 3
    assert message(done).startswith(f"sadtalker: 127.0.0.1:{free_port} is unavailable: ")


def test_the_timeout_is_code_1(server, folder, sadtalker):
    server.answer = lambda request: endless()
    done = sadtalker("animate", "a.png", "b.wav", "-o", "out.mp4", "--url", server.url, "--timeout", "0.5")
    assert done.returncode == 1
    assert "the timeout passed" in message(done)
    assert not (folder / "out.mp4").exists()


def test_a_full_disk_is_code_1(server, sadtalker):
    done = sadtalker("animate", "a.png", "b.wav", "-o", "/dev/full", "--url", server.url)
    assert done.returncode == 1
    assert "cannot write the video: " in message(done)


def test_status(server, sadtalker, free_port):
    done = sadtalker("status", "--url", server.url)
    assert (done.returncode, done.stdout.decode()) == (0, f"{server.url} is ready\n")
    done = sadtalker("status", "--url", f"127.0.0.1:{free_port}")
    assert (done.returncode, message(done)) == (3, f"sadtalker: 127.0.0.1:{free_port} is not ready")
    server.ready = False
    done = sadtalker("status", "--url", server.url, "--wait", "0.5")
    assert (done.returncode, message(done)) == (3, f"sadtalker: {server.url} was not ready within 0.5 s")


def test_a_terminal_gets_a_bar_and_no_video(server, folder):
    leader, follower = os.openpty()
    command = [*COMMAND, "animate", "a.png", "b.wav", "--url", server.url, "-o"]
    settings = {"stdout": follower, "stderr": follower, "timeout": 30}
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150"}
    refused = subprocess.run([*command, "-"], env=environment, **settings)
    done = subprocess.run([*command, "out.mp4"], env=environment, **settings)
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert (refused.returncode, done.returncode) == (2, 0)
    assert "expected a pipe or a file behind -o -, got a terminal" in shown
    assert "3/3 frames" in shown
    assert "━" in shown


def test_the_bar_fits_into_80_columns(server, folder):
    def answer(request):
        time.sleep(0.5)
        for done in (5, 9_000, 10_000):
            yield fragment(b"x", done, 10_000)
            time.sleep(0.3)
        yield final()

    server.answer = answer
    leader, follower = os.openpty()
    command = [*COMMAND, "animate", "a.png", "b.wav", "--url", server.url, "-o", "out.mp4"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    subprocess.run(command, env=environment, stdout=follower, stderr=follower, timeout=30, check=True)
    os.close(follower)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", os.read(leader, 1 << 20).decode())
    os.close(leader)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown)]
    bars = [line for line in lines if "━" in line]
    assert all(re.search(r" 0:00:\d\d ", line) for line in bars), bars
    assert max(map(len, bars)) <= 80
    assert not any("…" in line for line in bars)
    assert any("waiting for the first fragment" in line for line in bars)
    assert any(re.search(r"9000/10000 frames, [\d.]+ frames/s$", line) for line in bars), bars
    assert "0/0" not in shown


def test_the_meter_counts_from_the_request_on():
    times = iter([10.0, 12.0, 16.0])
    meter = Meter(lambda: next(times))
    meter.add(Fragment(b"abc", 25, 100))
    meter.add(Fragment(b"de", 100, 100))
    assert meter.report() == {
        "frames": 100,
        "bytes": 5,
        "video_seconds": 4.0,
        "seconds": 6.0,
        "first_fragment_seconds": 2.0,
        "frames_per_second": 16.667,
        "real_time_factor": 1.5,
    }
