"""docs/protocol.md and the example that speaks the raw protocol with NVIDIA's own client."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_triton import error, final, fragment, video
from google.protobuf import text_format
from sadtalker_client import UploadLimits
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "client" / "examples" / "raw_tritonclient.py"
CONFIG = ROOT / "model_repository" / "sadtalker" / "config.pbtxt"
GUIDE = (ROOT / "docs" / "protocol.md").read_text()


def ended_by_its_last_fragment(*pieces):
    """Return an answer without an empty message at its end."""
    *fragments, _ = video(*pieces)
    fragments[-1].infer_response.parameters["triton_final_response"].bool_param = True
    return fragments


@pytest.fixture
def example(server, tmp_path):
    """Run the example against the fake Triton and return the finished process."""
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.wav").write_bytes(b"sound")

    def run(*flags):
        command = [sys.executable, str(EXAMPLE), "a.png", "b.wav", "out.mp4", "--url", server.url, *flags]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("flags", [[], ["--asyncio"]], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("answer", [video, ended_by_its_last_fragment])
def test_tritonclient_alone_receives_the_video(server, example, tmp_path, flags, answer):
    server.answer = lambda request: answer(b"one", b"two", b"three")
    done = example(*flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").read_bytes() == b"onetwothree"
    assert done.stdout.splitlines()[-1] == "3 of 3 frames"
    (request,) = server.requests
    assert request.id == "raw-example-1"
    # tritonclient's asyncio client cannot ask for it; the model marks its last fragment anyway.
    assert request.parameters["triton_enable_empty_final_response"].bool_param == (not flags)
    given = {
        tensor.name: (tensor.datatype, list(tensor.shape), content)
        for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    assert given == {
        "image": ("BYTES", [1, 1], b"\7\0\0\0picture"),
        "audio": ("BYTES", [1, 1], b"\5\0\0\0sound"),
        "pose_style": ("INT32", [1, 1], b"\3\0\0\0"),
        "seed": ("INT64", [1, 1], b"\7" + b"\0" * 7),
    }


@pytest.mark.parametrize("flags", [[], ["--asyncio"]], ids=["blocking", "asyncio"])
def test_tritonclient_alone_receives_the_error(server, example, flags):
    server.answer = lambda request: [fragment(b"one", 1, 2), error("INVALID_ARGUMENT: no face"), final()]
    done = example(*flags)
    assert done.returncode == 1
    assert "INVALID_ARGUMENT: no face" in done.stderr


def documented(heading):
    """Return name, datatype and shape in the rows of the table under a heading."""
    section = GUIDE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [
        (name, datatype, tuple(int(size) for size in shape.split(",")))
        for name, datatype, shape in re.findall(r"^\| `(\w+)` \| (\w+) \| \[([-\d, ]+)\] \|", section, re.MULTILINE)
    ]


@pytest.mark.parametrize(("heading", "field"), [("Request", "input"), ("Responses", "output")])
def test_the_guide_names_every_tensor(heading, field):
    config = text_format.Parse(CONFIG.read_text(), model_config_pb2.ModelConfig())
    names = {"TYPE_STRING": "BYTES"}
    tensors = []
    for entry in getattr(config, field):
        datatype = model_config_pb2.DataType.Name(entry.data_type)
        tensors.append((entry.name, names.get(datatype, datatype.removeprefix("TYPE_")), (1, *entry.dims)))
    assert documented(heading) == tensors


def test_the_guide_names_the_limits():
    config = text_format.Parse(CONFIG.read_text(), model_config_pb2.ModelConfig())
    limits = UploadLimits()
    for number, unit in (
        (limits.picture >> 20, "MiB"),
        (limits.speech >> 20, "MiB"),
        (limits.video >> 20, "MiB"),
        (int(config.parameters["max_audio_seconds"].string_value), "s"),
        (int(config.parameters["videos_waiting"].string_value), "waiting requests"),
        (int(config.parameters["videos_at_once"].string_value), "videos at once"),
    ):
        assert f"{number} {unit}" in GUIDE
