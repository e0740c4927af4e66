"""A gateway in a thread of this process."""

import threading
import time
from collections.abc import Callable

import httpx
import uvicorn
from sadtalker_gateway import Settings, create_app
from talking_triton import FACE


class Served:
    """A gateway that listens; `url` of it, `http` a client for it, `app` the application."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        config = uvicorn.Config(self.app, port=0, log_level="warning", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> "Served":
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive())
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it as a signal would; a second time has no effect."""
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def portrait(self, image: bytes = FACE) -> str:
        """Return the id of a portrait that is uploaded."""
        answer = self.http.post("/v1/portraits", files={"image": image})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def finished(self, video: dict, seconds: float = 20) -> dict:
        """Return the state of a video once it has ended."""
        found = {}

        def ended() -> bool:
            found.update(self.http.get(f"/v1/videos/{video['id']}").json())
            return found["status"] in ("completed", "failed")

        until(ended, seconds)
        return found


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when a condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true within {seconds:g} s"
        time.sleep(0.02)
