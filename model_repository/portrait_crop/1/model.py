"""Triton's side of the portrait crop: tensors in, tensors out."""

import json
from dataclasses import fields

import numpy as np
import triton_python_backend_utils as pb_utils

from .bls import call
from .errors import REFUSED, InputError
from .face import MAIN
from .finder import FaceFinder
from .portrait import Portrait, prepare


class TritonPythonModel:
    """Every request of an execution succeeds or fails on its own."""

    def initialize(self, args: dict[str, str]) -> None:
        outputs = {output["name"]: output["dims"] for output in json.loads(args["model_config"])["output"]}
        self._face_size = int(outputs["face"][-1])
        self._finder = FaceFinder(call, pb_utils.is_model_ready)

    def execute(self, requests: list) -> list:
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        inputs = {tensor.name(): tensor.as_numpy().ravel() for tensor in request.inputs()}
        count = len(inputs["image"])
        crops, indices = inputs.get("crop", [b"crop"] * count), inputs.get("face_index", [MAIN] * count)
        try:
            portraits = [
                prepare(image, self._finder, crop.decode(), int(index), self._face_size)
                for image, crop, index in zip(inputs["image"], crops, indices, strict=True)
            ]
        except InputError as error:
            return _failure(f"{REFUSED}{error}", pb_utils.TritonError.INVALID_ARG)
        except Exception as error:  # one request's trouble must not become that of its batch
            pb_utils.Logger.log_error(f"portrait_crop: {error!r}")
            return _failure(f"portrait_crop failed: {error!r}", pb_utils.TritonError.INTERNAL)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(field.name, np.stack([getattr(portrait, field.name) for portrait in portraits]))
                for field in fields(Portrait)
                if field.name in request.requested_output_names()
            ]
        )


def _failure(message: str, code: int):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
