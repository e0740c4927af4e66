"""The web application: routes, limits, headers and the page."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import add_handlers
from .gateway import Gateway
from .metrics import Metrics
from .routes import chat, portraits, service, speech, videos
from .security import Gatekeeper, SecurityHeaders
from .settings import Settings

PAGE = Path(__file__).parent / "page"
_FILES = {"/": "index.html", "/style.css": "style.css", "/icon.svg": "icon.svg"}
_FILES |= {f"/{path.name}": path.name for path in sorted(PAGE.glob("*.js"))}

DESCRIPTION = """Talking-head videos over HTTP: a portrait, and text or speech, in; an MP4 out, streamed as it is made.

The shape of `/v1/videos` is that of OpenAI's Videos API. Every video is AI-generated and says so in its metadata.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; without settings, those of the environment."""
    settings = settings or Settings()
    gateway = Gateway(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.open():
            yield

    app = FastAPI(
        title="SadTalker gateway",
        version=installed_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.gateway = gateway
    for module in (portraits, videos, speech, chat, service):
        app.include_router(module.router)
    for path, name in _FILES.items():
        app.add_api_route(path, _page_file(name), include_in_schema=False, methods=["GET"])
    add_handlers(app)
    app.add_middleware(_Counted, metrics=gateway.metrics)
    app.add_middleware(Gatekeeper, settings=settings)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Range"],
            expose_headers=["X-Video-Id", "Location", "Retry-After", "Content-Range"],
        )
    app.add_middleware(SecurityHeaders)
    return app


def _page_file(name: str) -> Callable[[], Awaitable[FileResponse]]:
    async def answer() -> FileResponse:
        return FileResponse(PAGE / name, headers={"Cache-Control": "no-cache"})

    return answer


def installed_version() -> str:
    """Return the version of the package."""
    try:
        return version("sadtalker-triton")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


class _Counted:
    """Counts the answers by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.requests.labels(scope["method"], route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counting)
