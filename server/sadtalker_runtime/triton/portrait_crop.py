"""The model `portrait_crop`: picture files in, cropped and aligned faces out."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.portrait.face import MAIN
from sadtalker_runtime.portrait.finder import FaceFinder
from sadtalker_runtime.portrait.preparation import PreparedPortrait, check_crop, prepare_picture
from sadtalker_runtime.triton.calls import call_blocking
from sadtalker_runtime.triton.inputs import MISSING_IMAGE, FileLimits
from sadtalker_runtime.triton.responses import error_response
from sadtalker_runtime.triton.tracing import tracing


class TritonPythonModel:
    """The portrait crop. Every request of an execution succeeds or fails on its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the size of the faces and the limit of pictures from the configuration and load the face finder."""
        config = json.loads(args["model_config"])
        outputs = {output["name"]: output["dims"] for output in config["output"]}
        self._face_size = int(outputs["face"][-1])
        self._limits = FileLimits(config["parameters"])
        self._decoders, self._tracing = Decoders(), tracing()
        self._finder = FaceFinder(call_blocking, pb_utils.is_model_ready)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request, in order, with its tensors or with its own error."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """End the decoders and send the last spans."""
        self._decoders.close()
        self._tracing.close()

    def _answer(self, request: Any) -> Any:
        try:
            with self._tracing.execution("portrait_crop", request):
                portraits = self._portraits(request)
        except Exception as error:  # a request must not fail the others in its batch
            return error_response("portrait_crop", error)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(field.name, np.stack([getattr(portrait, field.name) for portrait in portraits]))
                for field in fields(PreparedPortrait)
                if field.name in request.requested_output_names()
            ]
        )

    def _portraits(self, request: Any) -> list[PreparedPortrait]:
        inputs = {tensor.name(): tensor.as_numpy().ravel() for tensor in request.inputs()}
        if "image" not in inputs:
            raise InputError(MISSING_IMAGE)
        count = len(inputs["image"])
        crops, indices = inputs.get("crop", [b"crop"] * count), inputs.get("face_index", [MAIN] * count)
        return [
            self._portrait(image, _text(crop), int(index))
            for image, crop, index in zip(inputs["image"], crops, indices, strict=True)
        ]

    def _portrait(self, image: bytes, crop: str, index: int) -> PreparedPortrait:
        self._limits.check("image", len(image))
        check_crop(crop)
        return prepare_picture(self._decoders.picture(image), self._finder, crop, index, self._face_size)


def _text(value: bytes | str) -> str:
    """Return a text of the caller, whatever its bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
