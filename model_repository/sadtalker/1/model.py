"""Triton's entry to the model; the code is in `sadtalker_runtime.triton.sadtalker`."""

from sadtalker_runtime.triton.sadtalker import TritonPythonModel

__all__ = ["TritonPythonModel"]
