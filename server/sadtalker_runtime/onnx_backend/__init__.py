"""A Python-based Triton backend named `onnxruntime`, for servers without the native one."""
