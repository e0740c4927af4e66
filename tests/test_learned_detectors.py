"""portrait_crop asks the learned detectors that the server has; graphs with fixed answers stand for them here."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper, numpy_helper
from sadtalker_export.restoration_specs import RESTORATION_SPECS
from sadtalker_runtime.manifest import ExportedFile, Manifest, write_manifest
from sadtalker_server import Server
from tritonclient.utils import InferenceServerException

ROOT = Path(__file__).resolve().parents[1]
SIDE = 512  # of the example portrait
LEFT, RIGHT = (40, 60, 260, 340), (360, 80, 600, 360)  # faces, in the detector's square of 640 pixels
LANDMARKS = np.linspace((70, 90), (190, 170), 68)  # in the cut-out of 256 pixels
LANDMARKS[36:48] = [(80, 100)] * 6 + [(176, 100)] * 6  # eyes
LANDMARKS[[30, 48, 54]] = (128, 140), (95, 190), (161, 190)


def candidates() -> dict[str, np.ndarray]:
    values = {t.name: np.zeros((1, *t.shape), np.float32) for t in RESTORATION_SPECS["face_detector"].outputs}
    values["boxes"][0, :2], values["scores"][0, :2] = (LEFT, RIGHT), (0.98, 0.99)
    return values


def answering(name: str, answers: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return a graph with a network's tensors that gives the same answers to every item of a batch."""
    spec = RESTORATION_SPECS[name]
    sides = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, ["batch", *t.shape]) for t in tensors]
        for tensors in (spec.inputs, spec.outputs)
    ]
    nodes = [helper.make_node("Shape", [spec.inputs[0].name], ["batch"], end=1)]
    constants = []
    for output, value in answers.items():
        constants += [numpy_helper.from_array(value, f"{output}_value")]
        constants += [numpy_helper.from_array(np.array(value.shape[1:]), f"{output}_item")]
        nodes += [helper.make_node("Concat", ["batch", f"{output}_item"], [f"{output}_shape"], axis=0)]
        nodes += [helper.make_node("Expand", [f"{output}_value", f"{output}_shape"], [output])]
    graph = helper.make_graph(nodes, name, *sides, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Run portrait_crop and the two detectors."""
    repository = tmp_path_factory.mktemp("detectors")
    shutil.copytree(ROOT / "model_repository" / "portrait_crop", repository / "portrait_crop")
    models = {}
    answers = {"face_detector": candidates(), "face_alignment": {"landmarks": LANDMARKS[None].astype(np.float32)}}
    for name, values in answers.items():
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(ROOT / "model_repository" / name / "config.pbtxt", repository / name)
        file = repository / name / "1" / "model.onnx"
        onnx.save(answering(name, values), file)
        models[name] = {file.name: ExportedFile(file.stat().st_size, "")}
    write_manifest(repository, Manifest("tiny", "", "fp32", 256, "", models))
    with Server(repository, tritonserver="embedded") as server:
        assert server.repository.not_installed == []
        yield server


@pytest.fixture
def crop(server, portrait_path):
    """Ask portrait_crop for outputs of the example portrait."""

    def ask(*outputs: str, **options: object) -> list[np.ndarray]:
        values = {"image": np.array([[portrait_path.read_bytes()]], np.object_)}
        if "crop" in options:
            values["crop"] = np.array([[options["crop"]]], np.object_)
        if "face_index" in options:
            values["face_index"] = np.array([[options["face_index"]]], np.int32)
        types = {"image": "BYTES", "crop": "BYTES", "face_index": "INT32"}
        inputs = [triton.InferInput(name, [1, 1], types[name]) for name in values]
        for tensor, value in zip(inputs, values.values(), strict=True):
            tensor.set_data_from_numpy(value)
        with triton.InferenceServerClient(server.grpc_url) as client:
            answer = client.infer("portrait_crop", inputs, outputs=[triton.InferRequestedOutput(o) for o in outputs])
            return [answer.as_numpy(name)[0] for name in outputs]

    return ask


def eyes(geometry: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return where the eyes are in the picture."""
    left, top, right, bottom = geometry[:4]
    return landmarks[:2] / 256 * (right - left, bottom - top) + (left, top)


@pytest.mark.parametrize(("asked", "box"), [({}, RIGHT), ({"face_index": 0}, LEFT), ({"face_index": 1}, RIGHT)])
def test_the_face_and_its_landmarks_are_the_detectors(crop, asked, box):
    left, top, right, bottom = (int(edge * SIDE / 640) for edge in box)
    expected = LANDMARKS[[36, 45]] / 256 * (right - left, bottom - top) + (left, top)
    for how in ("crop", "extcrop", "resize", "full"):
        np.testing.assert_allclose(eyes(*crop("geometry", "landmarks", crop=how, **asked)), expected, atol=1.5)


def test_a_face_too_many_is_refused(crop):
    message = "INVALID_ARGUMENT: face_index: expected 0 to 1, as 2 faces were found, got 2"
    with pytest.raises(InferenceServerException, match=message):
        crop("geometry", face_index=2)


def test_the_picture_comes_as_it_is(crop):
    geometry, picture = crop("geometry", "picture", crop="extfull")
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    assert geometry[4:].tolist() == [SIDE, SIDE]
