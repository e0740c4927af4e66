"""A speech model of thirty lines, in place of audio2coeff: the louder the speech, the wider the mouth; no head motion.

The tensors are those of audio2coeff (docs/live.md, "Other speech and motion models").
"""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

SAMPLES_PER_FRAME = 640
JAW = 0  # the expression coefficient that moves it most
GAIN = 12.0


class TritonPythonModel:
    """Loudness to coefficients."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request, in order."""
        return [self._answer({tensor.name(): tensor.as_numpy() for tensor in r.inputs()}) for r in requests]

    def _answer(self, inputs: dict[str, Any]) -> Any:
        waveform, source = inputs["waveform"], inputs["source_coefficients"]
        frames = len(waveform) // SAMPLES_PER_FRAME
        start, stop = inputs.get("frames", (0, frames))
        if not 0 <= start < stop <= frames:
            message = f"INVALID_ARGUMENT: frames: expected a range within 0 to {frames}, got {start} to {stop}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
        spoken = waveform[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
        coefficients = np.tile(source, (stop - start, 1)).astype(np.float32)
        coefficients[:, JAW] += GAIN * np.sqrt((spoken**2).mean(1))
        return pb_utils.InferenceResponse([pb_utils.Tensor("coefficients", coefficients)])
