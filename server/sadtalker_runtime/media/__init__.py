"""Media: decode what callers upload, encode the video that they get."""
