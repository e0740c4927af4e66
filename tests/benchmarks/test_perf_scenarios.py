"""The committed scenarios against the model repository."""

import base64
import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import text_format
from perf_analyzer.inputs import cut_speech, write_input
from perf_analyzer.scenarios import POISSON_RANGE, SCENARIOS
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository"
BYTES_PER_VALUE = {"TYPE_FP32": 4, "TYPE_INT64": 8, "TYPE_UINT8": 1}


def config(model: str) -> model_config_pb2.ModelConfig:
    text = (REPOSITORY / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


CONFIGS = {path.parent.name: config(path.parent.name) for path in REPOSITORY.glob("*/config.pbtxt")}
NETWORKS = {name for name, model in CONFIGS.items() if model.backend == "onnxruntime"}


def test_every_network_and_the_whole_are_put_under_load():
    assert SCENARIOS.keys() >= NETWORKS, "a row is missing in benchmarks/perf_analyzer/scenarios.py"
    assert {"render_frames", "sadtalker"} <= SCENARIOS.keys() <= CONFIGS.keys()


@pytest.mark.parametrize("model", SCENARIOS)
def test_scenario_fits_its_model(model: str):
    scenario = SCENARIOS[model]
    assert scenario.streaming == CONFIGS[model].model_transaction_policy.decoupled
    assert list(scenario.concurrency) == sorted(set(scenario.concurrency))
    assert scenario.concurrency[0] == 1
    assert scenario.requests >= max(scenario.concurrency), "every client must ask at least once"
    if scenario.frames:
        frames = next(output for output in CONFIGS[model].output if output.name.endswith("frames"))
        assert scenario.frames == frames.dims[0]


def test_rates_searched_surround_what_a_closed_loop_does():
    low, high = POISSON_RANGE
    assert 0 < low < 1 < high


@pytest.mark.parametrize("model", SCENARIOS)
def test_input_has_the_right_sizes_and_is_the_same_every_time(model: str, tmp_path: Path):
    files = {"image": b"portrait", "audio": b"speech"}
    write_input(CONFIGS[model], tmp_path / "first.json", files)
    write_input(CONFIGS[model], tmp_path / "second.json", files)
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    (request,) = json.loads((tmp_path / "first.json").read_text())["data"]
    wanted = {tensor.name: tensor for tensor in CONFIGS[model].input if not tensor.optional or tensor.name in files}
    assert model != "sadtalker" or wanted.keys() == files.keys()
    assert request.keys() == wanted.keys()
    for name, tensor in wanted.items():
        content = base64.b64decode(request[name]["content"]["b64"])
        assert request[name]["shape"] == list(tensor.dims)
        datatype = model_config_pb2.DataType.Name(tensor.data_type)
        if datatype == "TYPE_STRING":
            assert content == len(files[name]).to_bytes(4, "little") + files[name]
            continue
        assert len(content) == BYTES_PER_VALUE[datatype] * np.prod(tensor.dims)
        if datatype == "TYPE_FP32":
            values = np.frombuffer(content, np.float32)
            assert np.isfinite(values).all()
            assert len(values) == 1 or values.std() > 0.01


def test_speech_is_cut_to_length():
    with wave.open(io.BytesIO(cut_speech(ROOT / "examples" / "speech.wav", 0.6))) as part:
        assert part.getnframes() == round(0.6 * part.getframerate())


def test_model_analyzer_searches_the_networks_that_have_engines():
    search = yaml.safe_load((ROOT / "benchmarks" / "model_analyzer.yaml").read_text())
    assert search["profile_models"].keys() == {
        path.parents[1].name for path in REPOSITORY.glob("*/configs/tensorrt.pbtxt")
    }
    for name, model in search["profile_models"].items():
        varied = model["model_config_parameters"]
        assert (varied["backend"], varied["platform"]) == ("tensorrt", "tensorrt_plan")
        assert max(varied["max_batch_size"]) == CONFIGS[name].max_batch_size
        assert len(varied["dynamic_batching"]["max_queue_delay_microseconds"]) > 1
        (group,) = varied["instance_group"]
        assert group["kind"] == "KIND_GPU"
        assert len(group["count"]) > 1
        assert model["parameters"]["concurrency"][0] == 1
