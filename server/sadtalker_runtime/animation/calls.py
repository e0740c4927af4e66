"""The interface through which the animation calls the server's other models; it knows nothing of Triton."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sadtalker_runtime.arrays import Array

Call: TypeAlias = Callable[..., Awaitable[list[Array]]]
"""A function that runs a model of the server: `call(model, inputs by name, *output names)` returns those outputs.

Raises CallError when the model answers with an error.
"""
