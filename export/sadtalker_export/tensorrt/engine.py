"""TensorRT's Python API behind typed calls; only this module knows how TensorRT 10 and 11 differ.

Both build strongly typed engines: the types in the graph are those of the engine. Version 10 needs a flag for that;
version 11 knows nothing else.
"""

import importlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import CheckFailedError, UsageError

VERSIONS = (10, 11)
LEVELS = range(6)
LEVEL = 3  # of the builder's optimization, its own default: higher ones try more kernels and take longer
log = logging.getLogger(__name__)

Shape = tuple[int, ...]
Layer = dict[str, Any]


class EngineError(CheckFailedError):
    """An engine that TensorRT could not build, or that differs from what was asked for."""


class PhaseObserver(Protocol):
    """An observer of a build: phases nest, each has steps; called from several threads."""

    def start(self, phase: str, parent: str | None, steps: int) -> None: ...

    def step(self, phase: str, done: int) -> None: ...

    def finish(self, phase: str) -> None: ...


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input, batch axis included: the smallest, the one that kernels are chosen for, the largest."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class Built:
    """A serialized engine, and the timings of kernels that make the next build faster."""

    plan: bytes
    timings: bytes


class TensorRT:
    """The installed TensorRT. Raises `UsageError` where there is none, or not of a version this code knows."""

    def __init__(self) -> None:
        try:
            self._api: Any = importlib.import_module("tensorrt")
        except ImportError as error:
            raise UsageError(
                f"TensorRT's Python package cannot be imported ({error}); "
                "NGC's TensorRT image has it, `pip install '.[tensorrt]'` brings it"
            ) from error
        self.version = str(self._api.__version__)
        if self._major not in VERSIONS:
            raise UsageError(f"TensorRT {self.version}: expected {' or '.join(map(str, VERSIONS))}")
        self._logger = _logger(self._api)

    def build(
        self,
        path: Path,
        profiles: Sequence[Mapping[str, ShapeRange]],
        timings: bytes,
        observer: PhaseObserver,
        level: int = LEVEL,
    ) -> Built:
        """Build an engine from an ONNX file, with kernels of its own for every profile, at one of `LEVELS`.

        Raises `EngineError`; `KeyboardInterrupt` after the current step.
        """
        api = self._api
        builder = api.Builder(self._logger)
        network = builder.create_network(self._network_flags())
        parser = api.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(path)):
            errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise EngineError(f"{path}: TensorRT {self.version} cannot read it: {errors}")

        config = builder.create_builder_config()
        config.profiling_verbosity = api.ProfilingVerbosity.DETAILED  # otherwise the inspector does not show precisions
        config.clear_flag(api.BuilderFlag.TF32)  # on by default, but float32 is kept where ten bits are too few
        monitor = _monitor(api, observer)
        config.progress_monitor = monitor
        config.builder_optimization_level = level
        for inputs in profiles:
            profile = builder.create_optimization_profile()
            for name, shapes in inputs.items():
                profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
            if config.add_optimization_profile(profile) < 0:
                raise EngineError(f"{path}: TensorRT refuses the shapes {dict(inputs)}")
        if not config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

        plan = builder.build_serialized_network(network, config)
        if monitor.interrupted:
            raise KeyboardInterrupt
        if plan is None:
            raise EngineError(f"{path}: TensorRT {self.version} built no engine: {self._logger.last_error}")
        return Built(bytes(plan), bytes(config.get_timing_cache().serialize()))

    def layers(self, plan: bytes, inputs: Mapping[str, ShapeRange]) -> list[Layer]:
        """Return the engine inspector's description of every layer, at the shapes `opt` of the first profile."""
        api = self._api
        runtime = api.Runtime(self._logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(f"TensorRT {self.version} cannot load the engine: {self._logger.last_error}")
        context = engine.create_execution_context()
        for name, shapes in inputs.items():
            context.set_input_shape(name, shapes.opt)
        inspector = engine.create_engine_inspector()
        inspector.execution_context = context  # without one the formats of tensors are "N/A due to dynamic shapes"
        layers: list[Layer] = json.loads(inspector.get_engine_information(api.LayerInformationFormat.JSON))["Layers"]
        return layers

    @property
    def _major(self) -> int:
        return int(self.version.split(".")[0])

    def _network_flags(self) -> int:
        if self._major >= 11:
            return 0
        return 1 << int(self._api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _logger(api: Any) -> Any:
    """Return an `ILogger` that passes messages on to `logging` and keeps the last error."""
    levels = {
        api.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        api.ILogger.Severity.ERROR: logging.ERROR,
        api.ILogger.Severity.WARNING: logging.WARNING,
        api.ILogger.Severity.INFO: logging.INFO,
    }

    class Logger(api.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            api.ILogger.__init__(self)  # not super(): the binding asks for its own initialiser
            self.last_error = "it gives no reason"

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            log.log(level, message)
            if level == logging.ERROR:
                self.last_error = message

    return Logger()


def _monitor(api: Any, observer: PhaseObserver) -> Any:
    """Return an `IProgressMonitor` that tells an observer, and ends the build upon Ctrl-C."""

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self.interrupted = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(observer.start, phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(observer.step, phase_name, step + 1)
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._tell(observer.finish, phase_name)

        def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
            """Call the observer; of its exceptions only Ctrl-C ends the build."""
            try:
                call(*arguments)
            except KeyboardInterrupt:  # raised here, because TensorRT holds the main thread
                self.interrupted = True
            except Exception:
                log.exception("the progress of a build cannot be shown")

    return Monitor()
