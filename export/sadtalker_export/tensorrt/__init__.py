"""TensorRT engines: which nodes TensorRT takes, how an engine is built, cached and installed, what is in it."""
