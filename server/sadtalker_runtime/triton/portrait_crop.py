"""The model `portrait_crop`: encoded pictures in, cut-out and aligned faces out."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.portrait.face import MAIN
from sadtalker_runtime.portrait.finder import FaceFinder
from sadtalker_runtime.portrait.preparation import PreparedPortrait, prepare_picture
from sadtalker_runtime.triton.calls import call_blocking
from sadtalker_runtime.triton.responses import error_response


class TritonPythonModel:
    """The portrait crop. Every request of an execution succeeds or fails on its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the size of the faces from the configuration and load the face finder."""
        outputs = {output["name"]: output["dims"] for output in json.loads(args["model_config"])["output"]}
        self._face_size = int(outputs["face"][-1])
        self._decoders = Decoders()
        self._finder = FaceFinder(call_blocking, pb_utils.is_model_ready)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request, in order, with its tensors or with its own error."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """End the decoders."""
        self._decoders.close()

    def _answer(self, request: Any) -> Any:
        inputs = {tensor.name(): tensor.as_numpy().ravel() for tensor in request.inputs()}
        count = len(inputs["image"])
        crops, indices = inputs.get("crop", [b"crop"] * count), inputs.get("face_index", [MAIN] * count)
        try:
            portraits = [
                prepare_picture(
                    self._decoders.picture(image),
                    self._finder,
                    crop.decode(errors="replace"),
                    int(index),
                    self._face_size,
                )
                for image, crop, index in zip(inputs["image"], crops, indices, strict=True)
            ]
        except Exception as error:  # one request's trouble must not become that of its batch
            return error_response("portrait_crop", error)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(field.name, np.stack([getattr(portrait, field.name) for portrait in portraits]))
                for field in fields(PreparedPortrait)
                if field.name in request.requested_output_names()
            ]
        )
