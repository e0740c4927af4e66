"""Triton's entry to the model; the code is in `sadtalker_runtime.triton.sadtalker_live`."""

from sadtalker_runtime.triton.sadtalker_live import TritonPythonModel

__all__ = ["TritonPythonModel"]
