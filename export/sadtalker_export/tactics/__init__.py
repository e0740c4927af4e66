"""The fastest exact form of every layer, measured where it will run and kept in a file, as TensorRT keeps tactics."""
