"""Triton's entry to the model; the code is in `sadtalker_runtime.triton.audio2coeff`."""

from sadtalker_runtime.triton.audio2coeff import TritonPythonModel

__all__ = ["TritonPythonModel"]
