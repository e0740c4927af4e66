"""The model configurations, the exported networks and the client agree on every tensor."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_type_hints

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from google.protobuf import text_format
from sadtalker_client import _cli
from sadtalker_client import _live_wire as live_wire
from sadtalker_client import _options as client
from sadtalker_export.restoration_specs import RESTORATION_SPECS, SERVED_SPECS
from sadtalker_export.specs import SPECS
from sadtalker_runtime import generate
from sadtalker_runtime.animation.windows import RADIUS
from sadtalker_runtime.enhancers import BACKGROUNDS, ENHANCERS
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.live.options import FULL, LiveOptions
from sadtalker_runtime.option_table import FACE_OPTIONS, LIVE_OPTIONS, OPTIONS
from sadtalker_runtime.options import Options
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype

REPOSITORY = Path(__file__).resolve().parents[1] / "model_repository"
RESTORERS = [network.model for network in (*ENHANCERS.values(), *BACKGROUNDS.values())]
TINY = [*SPECS, *RESTORERS]  # the tiny preset has no detectors
CONFIGS = {path.parent.name: path for path in sorted(REPOSITORY.glob("*/config.pbtxt"))}


def read(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def tensors(fields) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {f.name: (model_config_pb2.DataType.Name(f.data_type), tuple(f.dims)) for f in fields}


def triton_type(dtype: str) -> str:
    return f"TYPE_{np_to_triton_dtype(dtype)}"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_is_called_like_its_folder(name):
    assert read(CONFIGS[name]).name == name


@pytest.mark.parametrize("name", SERVED_SPECS)
def test_every_exported_network_has_a_configuration_with_its_tensors(name):
    config, spec = read(CONFIGS[name]), SERVED_SPECS[name]
    assert config.backend == "onnxruntime"
    assert config.HasField("dynamic_batching") and config.max_batch_size > 1
    for fields, specs in ((config.input, spec.inputs), (config.output, spec.outputs)):
        assert tensors(fields) == {t.name: (triton_type(np.dtype(t.dtype)), t.shape) for t in specs}


def test_every_network_configuration_is_exported():
    assert {name for name, path in CONFIGS.items() if read(path).backend == "onnxruntime"} == set(SERVED_SPECS)


def test_a_server_starts_without_the_networks_that_restoration_needs():
    optional = {name for name, path in CONFIGS.items() if "optional" in read(path).parameters}
    assert optional == SERVED_SPECS.keys() & RESTORATION_SPECS.keys()


@pytest.mark.parametrize("name", TINY)
def test_exported_files_carry_these_tensors_and_a_dynamic_batch(name, tiny_repository):
    graph = onnx.load(tiny_repository / name / "1" / "model.onnx").graph
    spec = SERVED_SPECS[name]
    for values, specs in ((graph.input, spec.inputs), (graph.output, spec.outputs)):
        found = {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
        assert found == {t.name: ("batch", *t.shape) for t in specs}
    assert not [n.name for n in graph.node if n.op_type == "GridSample" and rank(graph, n.input[0]) == 5]


def rank(graph, name: str) -> int:
    shapes = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.value_info, *graph.output)}
    return shapes[name]


@pytest.mark.parametrize("name", [name for name, path in CONFIGS.items() if read(path).platform == "ensemble"])
def test_ensembles_pass_tensors_that_their_steps_have(name):
    config = read(CONFIGS[name])
    known = tensors(config.input)
    for step in config.ensemble_scheduling.step:
        model = read(CONFIGS[step.model_name])
        assert model.max_batch_size == 0 or model.max_batch_size >= config.max_batch_size
        inputs, outputs = tensors(model.input), tensors(model.output)
        assert set(step.input_map) == set(inputs)
        for inner, outer in step.input_map.items():
            assert known[outer] == inputs[inner], f"{step.model_name}.{inner}"
        known |= {outer: outputs[inner] for inner, outer in step.output_map.items()}
    for outer, kind in tensors(config.output).items():
        assert known[outer] == kind, outer


def test_the_request_is_what_the_declaration_says():
    config = read(CONFIGS["sadtalker"])
    assert [field.name for field in config.input] == ["image", "audio", *OPTIONS]
    assert [field.name for field in config.input if not field.optional] == ["image"]
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    assert defaults == {option.name: option.default for option in OPTIONS.values()}


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS.values() if option.kind == "number"], ids=lambda option: option.name
)
def test_a_declared_range_is_what_a_request_may_have(option):
    step = 1 if option.datatype.startswith("INT") else 0.5
    for bound, beyond in ((option.low, option.low - step), (option.high, option.high + step)):
        if not math.isfinite(bound):
            continue
        Options(**{option.name: bound})
        if option.special is None or beyond != option.special[0]:
            with pytest.raises(InputError, match=f"^{option.name}: expected {option.expected}, got "):
                Options(**{option.name: beyond})


def test_the_client_has_every_option_of_the_declaration():
    options = {
        name: option for name, option in OPTIONS.items() if name not in generate.COMMANDS
    }  # methods of the client
    assert {name: option.datatype for name, option in options.items()} == client.DATATYPES
    assert {name: option.dims for name, option in options.items() if option.dims != (1,)} == client.SHAPES
    assert {name for name, option in options.items() if option.kind == "file"} == client.FILES
    assert list(client.Options.__annotations__) == list(options)
    types = {
        "flag": bool,
        "choice": str,
        "text": str,
        "coefficients": npt.ArrayLike,
        "curve": client.KeyFrames,
        "times": Sequence[float],
        "file": client.Source,
        "files": Sequence[client.Source],
    }
    for name, annotation in get_type_hints(client.Options).items():
        option = OPTIONS[name]
        expected = types.get(option.kind, float if option.datatype == "FP32" else int)
        assert annotation == expected | None, name


def test_a_live_session_is_what_the_declaration_says():
    config = read(CONFIGS["sadtalker_live"])
    assert all(field.optional for field in config.input)
    defaults = {field.name: field.default for field in dataclasses.fields(LiveOptions)}
    assert defaults == {option.name: option.default for option in LIVE_OPTIONS.values()}
    assert LIVE_OPTIONS["look_ahead"].high == RADIUS
    assert LIVE_OPTIONS["look_ahead"].special[0] == FULL


def test_the_client_has_every_option_of_a_live_session():
    assert {name: option.datatype for name, option in LIVE_OPTIONS.items()} == live_wire.LIVE_DATATYPES
    videos, lives = get_type_hints(client.Options), get_type_hints(live_wire.LiveOptions)
    assert list(lives) == [*LIVE_OPTIONS, *FACE_OPTIONS]
    assert {name: lives[name] for name in FACE_OPTIONS} == {name: videos[name] for name in FACE_OPTIONS}
    assert {name: lives[name] for name in LIVE_OPTIONS} == {
        "look_ahead": int | Literal["full"] | None,
        "pace": Literal[LIVE_OPTIONS["pace"].choices] | None,
        "idle": bool | None,
        "format": Literal[LIVE_OPTIONS["format"].choices] | None,
    }


def test_the_command_line_has_a_flag_for_every_option():
    def parse(*arguments):
        return vars(_cli._parser().parse_args(["animate", "a.png", "b.wav", "-o", "c.mp4", *arguments]))

    plain = parse()
    for option in OPTIONS.values():
        if option.name in generate.COMMANDS:
            continue
        assert plain[option.name] is None, "the server's default applies"
        flag = generate._flag(option)
        if option.kind == "flag":
            assert parse(flag)[option.name] is (not option.default)
            continue
        text, value = {
            "number": ("1", 1),
            "choice": (option.choices[-1], option.choices[-1]) if option.choices else (),
            "curve": ("0:1,2:3", [(0.0, 1.0), (2.0, 3.0)]),
            "times": ("1,2.5", [1.0, 2.5]),
            "file": ("v.mp4", "v.mp4"),
            "files": ("a.jpg", ["a.jpg"]),
            "text": ("jaw", "jaw"),
            "coefficients": ("c.npz", "c.npz"),
        }[option.kind]
        parsed = parse(flag, text)[option.name]
        assert parsed == value and (option.kind != "number" or isinstance(parsed, float) == (option.datatype == "FP32"))
