"""Reads tritonserver's log: which models are loaded, and which lines say why it failed."""

import re

_LOADED = re.compile(r"\"successfully loaded '([^']+)'")
_FAILED = re.compile(r"\"(failed to load '[^']+' version .*)\"$", re.MULTILINE)
_TAIL_LINES = 10


def loaded_models(log: str) -> set[str]:
    """Names of the models that tritonserver has reported as loaded."""
    return set(_LOADED.findall(log))


def telling_lines(log: str) -> str:
    """Why models failed to load, in their own words; the last lines of the log where no model did."""
    messages = [message.replace(r"\n", "\n").replace(r"\"", '"') for message in _FAILED.findall(log)]
    failures = [message.partition("\nAt:\n")[0].strip() for message in messages]  # without Python's stack
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith(("|", "+"))]  # no tables
    return "\n".join(failures or lines[-_TAIL_LINES:])
