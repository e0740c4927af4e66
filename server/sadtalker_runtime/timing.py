"""Rates that every part of the pipeline shares."""

FRAME_RATE = 25
"""Video frames per second, which the networks were trained for."""

SPEECH_RATE = 16_000
"""Samples per second of speech, as the networks hear it."""

SAMPLES_PER_FRAME = SPEECH_RATE // FRAME_RATE
"""Speech samples of one video frame."""
