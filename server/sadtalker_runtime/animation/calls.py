"""How the animation runs the server's other models, without knowing Triton."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sadtalker_runtime.arrays import Array

Call: TypeAlias = Callable[..., Awaitable[list[Array]]]
"""Runs a model of the server: `call(model, inputs by name, *output names)` gives those outputs.

Raises CallError when the model answers with an error.
"""
