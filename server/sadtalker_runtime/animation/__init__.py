"""Animation: what moves a portrait, which coefficients each chunk of frames sees, and the order of the work."""
