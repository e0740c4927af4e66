"""Speech: mel spectrogram, head pose over a clip, blinks."""
