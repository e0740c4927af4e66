"""Gateways over a fake Triton and a store in a temporary folder."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sadtalker_gateway import Settings
from served import Served
from talking_triton import TalkingTriton


@pytest.fixture
def triton() -> Iterator[TalkingTriton]:
    """Yield a fake Triton that animates at once."""
    fake = TalkingTriton().start()
    yield fake
    fake.stop()


@pytest.fixture
def serve(triton: TalkingTriton, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start gateways with the given settings; they share one store."""
    with contextlib.ExitStack() as stack:

        def start(**settings: object) -> Served:
            defaults = {
                "triton_url": triton.url,
                "store": f"file://{tmp_path}/store",
                "idle_seconds": 1,
                "stop_seconds": 0,
            }
            return stack.enter_context(Served(Settings(**{**defaults, **settings})))

        yield start


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a gateway with a fake Triton of its own, shared by tests that only look at its answers."""
    triton = TalkingTriton().start()
    store = f"file://{tmp_path_factory.mktemp('store')}"
    with Served(Settings(triton_url=triton.url, store=store, idle_seconds=1, requests_per_minute=100_000)) as served:
        yield served
    triton.stop()


@pytest.fixture
def gateway(serve: Callable[..., Served]) -> Served:
    """Return a gateway with the defaults."""
    return serve()
