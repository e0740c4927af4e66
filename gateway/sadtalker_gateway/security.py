"""Authentication, rates and sizes of requests, checked before a byte of a body is read.

Pure ASGI, because FastAPI reads a body before it runs its dependencies.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError
from .settings import Settings

PUBLIC = "public"  # the owner of everything where no keys are set
_MOST_CALLERS = 10_000  # whose rates are remembered

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}


class RateLimiter:
    """A token bucket per caller: `per_minute` calls on average, a burst of as many at most."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> tokens, at that time

    def take(self, caller: str) -> float:
        """Take one call and return 0, or return the seconds until there is one to take."""
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + (now - then) * self._per_minute / 60)
        wait = 0.0 if tokens >= 1 else (1 - tokens) * 60 / self._per_minute
        self._buckets[caller] = (tokens - 1 if wait == 0 else tokens, now)
        while len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return wait


class Keys:
    """The accepted API keys; without any, everybody is `PUBLIC`."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def owner(self, authorization: str | None) -> str | None:
        """Return whom a header `Authorization: Bearer KEY` stands for, None if nobody. Takes constant time."""
        if not self._digests:
            return PUBLIC
        scheme, _, key = (authorization or "").partition(" ")
        digest = hashlib.sha256(key.strip().encode(errors="replace")).digest()
        known = False
        for accepted in self._digests:  # all of them: how long it takes must not tell which one it is
            known |= hmac.compare_digest(digest, accepted)
        return digest.hex()[:16] if known and scheme.lower() == "bearer" else None


class Gatekeeper:
    """Lets calls of the API through to `app` if their key, rate and size are in order; `scope["owner"]` says whose."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._keys = Keys([key.get_secret_value() for key in settings.api_keys])
        self._rate = RateLimiter(settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._settings.upload_bytes, self._settings.upload_seconds)
        try:
            self._check(scope)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        started = False

        async def tracked(message: Message) -> None:
            nonlocal started
            if body.refusal is None or started:
                started = True
                await send(message)

        try:
            await self._app(scope, body, tracked)
        except ApiError:
            if started or body.refusal is None:
                raise
        if body.refusal is not None and not started:  # whatever the application answered
            await body.refusal.response()(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        owner = self._keys.owner(headers.get("authorization"))
        if owner is None:
            raise ApiError(401, "invalid_api_key", "expected a valid API key in the header Authorization: Bearer KEY")
        scope["owner"] = owner
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return
        self._check_origin(headers)
        if scope["method"] == "POST":
            caller = owner if owner != PUBLIC else (scope.get("client") or ("unknown",))[0]
            if wait := self._rate.take(caller):
                limit = self._settings.requests_per_minute
                message = f"expected at most {limit} creations per minute, got more; try again in {wait:.0f} s"
                raise ApiError(429, "rate_limited", message, retry_after=wait)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._settings.upload_bytes:
            raise too_large(self._settings.upload_bytes)

    def _check_origin(self, headers: Headers) -> None:
        """Refuse requests that a page of another site sends in its visitor's name."""
        origin = headers.get("origin")
        if origin is None or origin in self._settings.allowed_origins or "*" in self._settings.allowed_origins:
            return
        if urlsplit(origin).netloc != headers.get("host", ""):
            raise ApiError(403, "forbidden_origin", "pages of other sites may not call this API")


class _Body:
    """The body of a request, cut off when it is too long or too slow."""

    def __init__(self, receive: Receive, most_bytes: int, seconds: float) -> None:
        self._receive, self._most_bytes, self._seconds = receive, most_bytes, seconds
        self._deadline = time.monotonic() + seconds
        self._bytes = 0
        self.refusal: ApiError | None = None
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:  # anything after it only says that the caller has left
            return await self._receive()
        try:
            # Not asyncio.wait_for, which on Python 3.11 and before can lose a cancellation.
            with anyio.fail_after(max(self._deadline - time.monotonic(), 0.001)):
                message = await self._receive()
        except TimeoutError as error:
            reason = f"expected the whole request within {self._seconds:g} s, got part of it"
            self.refusal = ApiError(408, "upload_timeout", reason)
            raise self.refusal from error
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._bytes > self._most_bytes:
                self.refusal = too_large(self._most_bytes)
                raise self.refusal
        return message


def too_large(most_bytes: int) -> ApiError:
    """Return the error for a body that is too long."""
    return ApiError(413, "too_large", f"expected at most {most_bytes} bytes in one request, got more")


class SecurityHeaders:
    """Adds `SECURITY_HEADERS` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
