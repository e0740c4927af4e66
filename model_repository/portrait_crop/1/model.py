"""Triton's entry to the model; the code is in `sadtalker_runtime.triton.portrait_crop`."""

from sadtalker_runtime.triton.portrait_crop import TritonPythonModel

__all__ = ["TritonPythonModel"]
