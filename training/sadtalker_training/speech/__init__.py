"""Synthetic speech with the times of its phonemes, and the mouth shapes that go with it."""
