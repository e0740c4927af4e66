"""One real server over throw-away models, shared by the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import throwaway_repository as throwaway
from sadtalker_server import Server

# A batch leaves when its 8 items are there: tests send exactly 8, so the long delay costs nothing.
HOLD = "dynamic_batching { max_queue_delay_microseconds: 20000000 }"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return four models: `doubling`, `single`, `lookup` batch (the first two with OpenVINO); `product` does not."""
    folder = tmp_path_factory.mktemp("repository")
    throwaway.add_model(
        folder, "doubling", throwaway.doubling(), f"{throwaway.DOUBLING_CONFIG}{HOLD}{throwaway.OPENVINO}"
    )
    throwaway.add_model(
        folder,
        "single",
        throwaway.doubling(),
        f"{throwaway.DOUBLING_CONFIG}{HOLD}{throwaway.OPENVINO}{throwaway.ONE_ITEM_PER_RUN}",
    )
    throwaway.add_model(folder, "lookup", throwaway.lookup(), f"{throwaway.LOOKUP_CONFIG}{HOLD}")
    throwaway.add_model(folder, "product", throwaway.repeated_product(), throwaway.REPEATED_PRODUCT_CONFIG)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server over `repository` until it is ready."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with Server(repository, tritonserver="embedded", start_timeout_secs=60, log_file=log) as running:
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a repository of a server's own: `product`, and a stand-in for `sadtalker` that calls it."""
    folder = tmp_path / "models"
    throwaway.add_model(folder, "product", throwaway.repeated_product(), throwaway.REPEATED_PRODUCT_CONFIG)
    throwaway.add_video_model(folder)
    return folder
