"""Fixtures of the client's tests: a fake Triton, a port without a listener."""

import socket

import pytest
from fake_triton import FakeTriton
from two_faces import Asynchronous, Blocking


@pytest.fixture
def server():
    """Yield a fake Triton that answers three frames until told otherwise."""
    fake = FakeTriton().start()
    yield fake
    fake.stop()


@pytest.fixture(params=[Blocking, Asynchronous], ids=["sync", "asyncio"])
def face(request):
    """Return each of the two clients in turn, as a constructor."""
    return request.param


@pytest.fixture
def free_port():
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
