"""Triton's side of the runtime: the TritonPythonModels of the repository, calls between models, metrics."""
