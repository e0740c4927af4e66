"""TensorRT takes every node of every exported network; the table that tells so refuses what it should."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from sadtalker_export.specs import SPECS
from sadtalker_export.tensorrt.operators import refusals

F32, F16, F64, INT64, UINT8 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.UINT8,
)


@pytest.mark.parametrize("name", SPECS)
def test_tensorrt_takes_every_exported_network(name: str, tiny_repository: Path) -> None:
    assert refusals(tiny_repository / name / "1" / "model.onnx") == []


Tensors = dict[str, tuple[int, list[int]]]
"""Type and shape by name."""


def refused(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Tensors,
    outputs: Tensors,
    constants: tuple[onnx.TensorProto, ...] = (),
    opset: int = 18,
) -> list[str]:
    """Return what is refused of a graph of these nodes."""
    values = [[helper.make_tensor_value_info(n, *kind) for n, kind in side.items()] for side in (inputs, outputs)]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "graph", *values, constants)
    onnx.save(helper.make_model(graph, opset_imports=opsets), path / "model.onnx")
    return refusals(path / "model.onnx")


def test_a_grid_sample_of_volumes_is_refused(tmp_path: Path) -> None:
    volume = {"x": (F32, [1, 2, 3, 4, 5]), "grid": (F32, [1, 3, 4, 5, 3])}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], name="warp")
    found = refused(tmp_path, [node], volume, {"y": (F32, [1, 2, 3, 4, 5])}, opset=20)
    assert found == ["GridSample warp: input of rank 5, expected 4"]
    picture = {"x": (F32, [1, 2, 4, 5]), "grid": (F16, [1, 4, 5, 2])}
    assert refused(tmp_path, [node], picture, {"y": (F32, [1, 2, 4, 5])}, opset=20) == []


def test_bytes_inside_a_graph_are_refused_and_at_its_edges_taken(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["bytes"], name="cast", to=UINT8)
    turn = helper.make_node("Transpose", ["bytes"], ["y"], name="turn")
    found = refused(tmp_path, [cast, turn], {"x": (F32, [2, 3])}, {"y": (UINT8, [3, 2])})
    assert "Cast cast: bytes is UINT8, which only a network's inputs and outputs may be" in found
    assert any(reason.startswith("Transpose turn: y is UINT8, expected FLOAT or") for reason in found)
    assert refused(tmp_path, [cast], {"x": (F16, [2, 3])}, {"bytes": (UINT8, [2, 3])}) == []
    found = refused(tmp_path, [cast], {"x": (INT64, [2, 3])}, {"bytes": (UINT8, [2, 3])})
    assert found == ["Cast cast: cast between INT64 and UINT8, expected FLOAT or FLOAT16"]


def test_doubles_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"], name="add")
    found = refused(tmp_path, [node], {"x": (F64, [2])}, {"y": (F64, [2])})
    assert "Add add: x is DOUBLE, expected FLOAT or FLOAT16 or BFLOAT16 or INT32 or INT64" in found


def test_whole_numbers_are_refused_where_kernels_are_of_floating_point(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "x"], ["y"], name="product")
    found = refused(tmp_path, [node], {"x": (INT64, [2, 2])}, {"y": (INT64, [2, 2])})
    assert "MatMul product: x is INT64, expected FLOAT or FLOAT16 or BFLOAT16" in found


def test_ways_of_resizing_are_told_apart(tmp_path: Path) -> None:
    scales = helper.make_tensor("scales", F32, [4], [1, 1, 2, 2])
    sides = {"x": (F32, [1, 1, 2, 2])}, {"y": (F32, [1, 1, 4, 4])}
    for attributes, reason in (
        ({"mode": "linear"}, []),
        ({"mode": "linear", "antialias": 1}, ["Resize grow: antialias 1, expected 0"]),
        (
            {"mode": "linear", "keep_aspect_ratio_policy": "not_larger"},
            ["Resize grow: keep_aspect_ratio_policy not_larger, expected stretch"],
        ),
    ):
        node = helper.make_node("Resize", ["x", "", "scales"], ["y"], name="grow", **attributes)
        assert refused(tmp_path, [node], *sides, constants=(scales,)) == reason


def test_axes_that_are_computed_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], name="total")
    found = refused(tmp_path, [node], {"x": (F32, [2, 3]), "axes": (INT64, [1])}, {"y": (F32, [1, 3])})
    assert found == ["ReduceSum total: input 1 must be constant"]


def test_dilated_and_indexed_pooling_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], name="pool", kernel_shape=[2, 2], dilations=[1, 2])
    found = refused(
        tmp_path, [node], {"x": (F32, [1, 1, 4, 4])}, {"y": (F32, [1, 1, 3, 2]), "i": (INT64, [1, 1, 3, 2])}
    )
    assert found == ["MaxPool pool: dilations 2, expected 1", "MaxPool pool: 2 outputs, at most 1"]


def test_more_than_eight_axes_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    shape = [1] * 9
    assert refused(tmp_path, [node], {"x": (F32, shape)}, {"y": (F32, shape)}) == [
        "x: rank 9, at most 8",
        "y: rank 9, at most 8",
    ]


def test_foreign_operators_are_refused_and_what_follows_has_no_type(tmp_path: Path) -> None:
    foreign = helper.make_node("FusedMatMul", ["x", "x"], ["product"], name="f", domain="com.microsoft")
    node = helper.make_node("Sigmoid", ["product"], ["y"], name="s")
    assert refused(tmp_path, [foreign, node], {"x": (F32, [2, 2])}, {"y": (F32, [2, 2])}) == [
        "FusedMatMul f: no such operator",
        "Sigmoid s: product is of unknown type, expected FLOAT or FLOAT16 or BFLOAT16",
    ]


def test_a_newer_opset_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    assert refused(tmp_path, [node], {"x": (F32, [1])}, {"y": (F32, [1])}, opset=21) == [
        "opset 21: TensorRT 10.1 reads 9 to 20"
    ]
