"""TensorRT engines: supported nodes, building, caching, installation and inspection."""
