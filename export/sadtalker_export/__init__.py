"""From SadTalker's checkpoints to what Triton runs: networks, exact rewrites, ONNX files, TensorRT engines, gates."""
