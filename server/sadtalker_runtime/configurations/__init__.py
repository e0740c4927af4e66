"""The variants of the model configurations, and the command that writes them: `python -m sadtalker_runtime.generate`."""
