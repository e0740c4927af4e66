"""Explicit quantization of the decoder: Q/DQ nodes around its convolutions, with ranges seen in calibration.

Weights have a scale per output channel, activations one per tensor, both symmetric as TensorRT wants them; outputs of
convolutions keep full precision, so that normalisations and modulation lose nothing. The rest of the graph is
unchanged.
"""

import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import onnx
from onnx import TensorProto, version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ..errors import UsageError
from .calibration import Feed

DECODER = "renderer.decoder."
"""Prefix of the names of the decoder's weights in a graph."""
WRAPPED = "module."
"""Prefix before it where positions are in float64 (`forms.DoublePositions`)."""
KEPT = ("renderer.decoder.to_rgb",)
"""Layers that are not quantized: the last one writes the pixels."""
KINDS = ("Conv", "ConvTranspose")
DTYPES = {"int8": QuantType.QInt8, "fp8": QuantType.QFLOAT8E4M3FN}
FP8_OPSET = 19  # the first in which Q/DQ take 8-bit floats


def layers(model: onnx.ModelProto, kept: Sequence[str] = KEPT) -> list[str]:
    """Return the names of the decoder's convolutions in a graph, except where a weight's name has a prefix in `kept`.

    Raises `UsageError` for a graph without any, such as one rewritten for CPUs.
    """
    found = [
        node.name
        for node in model.graph.node
        if node.op_type in KINDS
        and (weight := node.input[1].removeprefix(WRAPPED)).startswith(DECODER)
        and not weight.startswith(tuple(kept))
    ]
    if not found:
        raise UsageError(f"expected convolutions with weights named {DECODER}*, found none in this graph")
    return found


def quantize(source: Path, target: Path, feeds: Iterator[Feed], dtype: str, kept: Sequence[str] = KEPT) -> int:
    """Write a graph with its decoder quantized, and return how many convolutions that are.

    Args:
        source: a graph in fp32.
        target: the file to write; removed after a failure.
        feeds: the calibration inputs, by tensor name.
        dtype: one of `DTYPES`.
        kept: prefixes of the names of weights that are not quantized.
    """
    model = onnx.load(source)
    nodes = layers(model, kept)
    if dtype == "fp8":
        model = version_converter.convert_version(model, FP8_OPSET)
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "AddQDQPairToWeight": True,  # TensorRT folds the weights itself
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(KINDS),
    }
    with tempfile.TemporaryDirectory(prefix="sadtalker-calibration-") as folder, _quietly():
        partial = Path(folder) / "model.onnx"
        quantize_static(
            model,
            partial,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(KINDS),
            per_channel=dtype == "int8",
            activation_type=DTYPES[dtype],
            weight_type=DTYPES[dtype],
            nodes_to_quantize=nodes,
            calibrate_method=CalibrationMethod.MinMax if dtype == "int8" else CalibrationMethod.Distribution,
            calibration_providers=["CPUExecutionProvider"],
            extra_options=options,
        )
        written = onnx.load(partial)
    del written.metadata_props[:]
    written.metadata_props.extend(model.metadata_props)
    onnx.save(written, target)
    return len(nodes)


def quantized_convolutions(model: onnx.ModelProto) -> int:
    """Return how many convolutions of a graph read both operands from a DequantizeLinear of 8 bits."""
    narrow = {TensorProto.INT8, TensorProto.FLOAT8E4M3FN}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    dequantized = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and types.get(node.input[2]) in narrow
    }
    return sum(node.op_type in KINDS and set(node.input[:2]) <= dequantized for node in model.graph.node)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the quantizer's output and its advice to preprocess, which the exporter has done already."""
    logger = logging.getLogger()
    before = logger.disabled
    logger.disabled = True
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.disabled = before


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterator[Feed]) -> None:
        self._feeds = feeds

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)
