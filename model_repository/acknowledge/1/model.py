"""Triton's entry to the model; the code is in `sadtalker_runtime.triton.acknowledge`."""

from sadtalker_runtime.triton.acknowledge import TritonPythonModel

__all__ = ["TritonPythonModel"]
