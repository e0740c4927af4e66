"""The domain of the talking head; only `triton` and `onnx_backend` know Triton."""
