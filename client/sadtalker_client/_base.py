"""The part that the blocking and the asyncio client share: settings, request ids, waiting for readiness."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from ._channel import TLS, Endpoint
from ._exceptions import InvalidInputError, ServerUnavailableError
from ._files import UploadLimits

READINESS_POLL_SECONDS = 0.25

_DEFAULT_LIMITS = UploadLimits()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")  # neither spaces nor brackets, which logs put around it


class BaseClient:
    """Settings of a connection to a server."""

    def __init__(
        self,
        url: str = "127.0.0.1:8001",
        *,
        timeout: float | None = None,
        tls: TLS | bool | None = None,
        metadata: Mapping[str, str] | None = None,
        upload_limits: UploadLimits = _DEFAULT_LIMITS,
    ) -> None:
        self._endpoint = Endpoint(url, tls, metadata)
        self._timeout = timeout
        self._upload_limits = upload_limits
        self._channel = self._open()

    def _open(self) -> Any:
        """Return an open channel, or None to open it later."""
        return None

    def _readiness_checks(self, timeout: float) -> Iterator[float]:
        """Yield, before each check for readiness, the seconds that it may take.

        Raises ServerUnavailableError once `timeout` seconds have passed.
        """
        deadline = time.monotonic() + timeout
        remaining = timeout
        while remaining >= 0:
            yield max(remaining, READINESS_POLL_SECONDS)
            remaining = deadline - time.monotonic()
        raise ServerUnavailableError(f"{self._endpoint.url} was not ready within {timeout:g} s")


def checked_request_id(request_id: str | None) -> str:
    """Return `request_id`, or a random one for None. Raises InvalidInputError for one that would spoil a log line."""
    if request_id is None:
        return uuid4().hex
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise InvalidInputError(
            f"request_id: expected 1 to 128 letters, digits or characters of ._:/+=-, got {str(request_id)[:80]!r}"
        )
    return request_id
