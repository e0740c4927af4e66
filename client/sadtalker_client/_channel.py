"""The gRPC connection: address, encryption, and the settings that production needs."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import grpc

from ._exceptions import InvalidInputError
from ._files import read_source

CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    # Portraits and fragments are often larger than gRPC's 4 MB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A peer that vanished during a long wait in the queue is noticed. Triton tolerates a ping per 5 minutes on a
    # connection that carries no data and closes it on the third sooner one, so stay above that.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that comes back is found within seconds, not after gRPC's 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Nor does a client wait because another one, perhaps closed long ago, has failed to connect to the same address.
    ("grpc.use_local_subchannel_pool", 1),
    # Behind dns:///name (a Kubernetes headless service) every pod gets its share of the animations.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
]


@dataclass(frozen=True)
class TLS:
    """Certificates of an encrypted connection; each field is the path of a PEM file, or None.

    `root_certificates` are the authorities to trust (None: those that gRPC ships with). `private_key` and
    `certificate_chain`, always together, identify the client (mutual TLS).
    """

    root_certificates: str | os.PathLike[str] | None = None
    private_key: str | os.PathLike[str] | None = None
    certificate_chain: str | os.PathLike[str] | None = None


class Endpoint:
    """The address of a server and how to talk to it; `open` connects either kind of client to it."""

    def __init__(self, url: str, tls: TLS | bool | None, metadata: Mapping[str, str] | None) -> None:
        if url.partition("://")[0].lower() in ("http", "https", "grpc", "grpcs"):  # gRPC would look up that name
            raise InvalidInputError(f"url: expected host:port or a gRPC target such as dns:///host:port, got {url!r}")
        self.url = url
        self.metadata = tuple((key.lower(), value) for key, value in (metadata or {}).items())
        self._credentials = _credentials(TLS() if tls is True else tls) if tls else None

    def open(self, api: Any) -> Any:
        """Return a channel of `api`, which is `grpc` or `grpc.aio`; it connects when it is first used."""
        if self._credentials is None:
            return api.insecure_channel(self.url, options=CHANNEL_OPTIONS)
        return api.secure_channel(self.url, self._credentials, options=CHANNEL_OPTIONS)


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    if (tls.private_key is None) != (tls.certificate_chain is None):
        raise InvalidInputError("tls: expected private_key and certificate_chain together, got one of them")
    return grpc.ssl_channel_credentials(
        **{
            field.name: None if path is None else read_source(f"tls: {field.name}", path)
            for field in fields(tls)
            for path in [getattr(tls, field.name)]
        }
    )
