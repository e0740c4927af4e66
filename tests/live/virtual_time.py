"""An event loop whose time passes at once: nothing is waited for, and all that is scheduled comes in order."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):
    """Lets the time pass that it is asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None):
        ready = super().select(0)
        if not ready and timeout is not None:
            self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For coroutines without threads."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(coroutine: Coroutine[object, object, Result]) -> Result:
    """Call `asyncio.run` in virtual time; fails when tasks are left behind."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(coroutine)
        loop.run_until_complete(asyncio.sleep(20))  # until loops are rendered
        assert not asyncio.all_tasks(loop)
        return result
    finally:
        loop.close()


def clock() -> float:
    """Return seconds of the running loop."""
    return asyncio.get_running_loop().time()
