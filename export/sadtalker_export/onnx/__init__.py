"""Networks as ONNX files: written, checked against PyTorch, installed in a model repository, counted."""
