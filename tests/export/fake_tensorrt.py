"""The part of TensorRT's Python API that a build uses, as strict as the real one about order and types, without a GPU.

Names and behaviour follow NVIDIA/TensorRT python/src/infer/pyCore.cpp and python/src/parsers/pyOnnx.cpp.
"""

import json
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

TF32, DETAILED, JSON, STRONGLY_TYPED = "TF32", "DETAILED", "JSON", 1


class Severity(IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


@dataclass
class Script:
    """How the fake behaves, and what it was asked to do."""

    version: str = "10.13.3.9"
    engine_type: str = "Half"  # what the inspector tells of convolutions
    parse_errors: tuple[str, ...] = ()
    build_error: str | None = None
    builds: list[dict[str, Any]] = field(default_factory=list)


class Base:
    """A class of the binding: unusable unless its own initialiser was called."""

    def __init__(self) -> None:
        self.bound = True


class ILogger(Base):
    Severity = Severity


class IProgressMonitor(Base):
    pass


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]) -> None:
        if not all(low <= best <= high for low, best, high in zip(min, opt, max, strict=True)):
            raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
        self.shapes[input] = (min, opt, max)


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class BuilderConfig:
    def __init__(self) -> None:
        self.profiling_verbosity: Any = None
        self.progress_monitor: Any = None
        self.flags = {TF32}
        self.profiles: list[OptimizationProfile] = []
        self.builder_optimization_level = 3
        self.cache: TimingCache | None = None

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.content.startswith(b"other GPU") and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache:
        assert self.cache is not None
        return self.cache


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.graph: onnx.GraphProto | None = None


class Builder:
    def __init__(self, script: Script, logger: ILogger) -> None:
        assert isinstance(logger, ILogger) and logger.bound
        self.script, self.logger = script, logger

    def create_network(self, flags: int = 0) -> Network:
        return Network(flags)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> bytes | None:
        assert network.graph is not None, "nothing was parsed"
        assert config.progress_monitor.bound and config.cache is not None
        assert config.profiles
        for profile in config.profiles:
            assert set(profile.shapes) == {value.name for value in network.graph.input}, "dynamic inputs need a profile"
        self.script.builds.append(
            {
                "network": network.graph.name,
                "flags": network.flags,
                "verbosity": config.profiling_verbosity,
                "builder flags": set(config.flags),
                "shapes": [profile.shapes for profile in config.profiles],
                "level": config.builder_optimization_level,
                "timings": config.cache.content,
            }
        )
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Timing", "Building Engine", 1)
        if not monitor.step_complete("Timing", 0):
            return None
        monitor.phase_finish("Timing")
        monitor.step_complete("Building Engine", 0)
        monitor.phase_finish("Building Engine")
        if self.script.build_error:
            self.logger.log(Severity.ERROR, self.script.build_error)
            return None
        config.cache.content += network.graph.name.encode() + b";"
        return json.dumps([network.graph.name, list(config.profiles[0].shapes)]).encode()


class OnnxParser:
    def __init__(self, script: Script, network: Network, logger: ILogger) -> None:
        assert isinstance(logger, ILogger) and logger.bound
        self.script, self.network = script, network

    def parse_from_file(self, model: str) -> bool:
        self.network.graph = onnx.load(Path(model)).graph
        return not self.script.parse_errors

    @property
    def num_errors(self) -> int:
        return len(self.script.parse_errors)

    def get_error(self, index: int) -> str:
        return self.script.parse_errors[index]


class Runtime:
    def __init__(self, script: Script, logger: ILogger) -> None:
        assert isinstance(logger, ILogger) and logger.bound
        self.script = script

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "Engine":
        return Engine(self.script, *json.loads(serialized_engine))


class Engine:
    def __init__(self, script: Script, name: str, inputs: list[str]) -> None:
        self.script, self.name, self.inputs = script, name, set(inputs)

    def create_execution_context(self) -> "ExecutionContext":
        return ExecutionContext()

    def create_engine_inspector(self) -> "EngineInspector":
        return EngineInspector(self)


class ExecutionContext:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True


class EngineInspector:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.execution_context: ExecutionContext | None = None

    def get_engine_information(self, format: str) -> str:
        assert format == JSON
        known = self.execution_context is not None and set(self.execution_context.shapes) == self.engine.inputs
        kind = self.engine.script.engine_type if known else "N/A due to dynamic shapes"
        tensor = {"Name": "x", "Format/Datatype": kind}
        layers = [
            {"Name": "reformat", "LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Float"}], "Outputs": []},
            {"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor]},
        ]
        return json.dumps({"Layers": layers})


def module(script: Script) -> ModuleType:
    """Return a module to be put in the place of `tensorrt`."""

    class NetworkDefinitionCreationFlag(IntEnum):
        STRONGLY_TYPED = STRONGLY_TYPED

    fake = ModuleType("tensorrt")
    names: dict[str, Any] = {
        "__version__": script.version,
        "ILogger": ILogger,
        "IProgressMonitor": IProgressMonitor,
        "NetworkDefinitionCreationFlag": NetworkDefinitionCreationFlag,
        "Builder": lambda logger: Builder(script, logger),
        "OnnxParser": lambda network, logger: OnnxParser(script, network, logger),
        "Runtime": lambda logger: Runtime(script, logger),
        "ProfilingVerbosity": type("ProfilingVerbosity", (), {"DETAILED": DETAILED}),
        "LayerInformationFormat": type("LayerInformationFormat", (), {"JSON": JSON}),
        "BuilderFlag": type("BuilderFlag", (), {"TF32": TF32}),
    }
    for name, value in names.items():
        setattr(fake, name, value)
    return fake
