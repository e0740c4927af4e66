"""Restricts the protocols that inspect or change tritonserver to callers that send a key.

Health, metadata and inference stay open. Open, the shared-memory protocol lets any caller register the memory between
tritonserver and its models (CVE-2025-23319, CVE-2025-23320), and the logging protocol writes files.
"""

import os
import secrets

from sadtalker_server._errors import LaunchError

KEY_VARIABLE = "SADTALKER_ADMIN_KEY"

_PROTOCOLS = ("shared-memory", "model-config", "model-repository", "statistics", "trace", "logging")
_HEADER = "admin-key"
_OPTION = "--grpc-restricted-protocol"
_SHORTEST_KEY = 8


def choose_key(given: str | None) -> str:
    """Return `given`, else the variable SADTALKER_ADMIN_KEY, else a random key.

    Raises LaunchError unless a key has at least 8 characters, all of printable ASCII (gRPC sends no others).
    """
    key = given if given is not None else os.environ.get(KEY_VARIABLE)
    if key is None:
        return secrets.token_hex(32)
    if len(key) < _SHORTEST_KEY or not (key.isascii() and key.isprintable()) or key != key.strip():
        raise LaunchError(
            f"the admin key has {len(key)} characters: expected at least {_SHORTEST_KEY} of printable ASCII, without "
            "spaces around them"
        )
    return key


def key_headers(key: str) -> dict[str, str]:
    """Return the gRPC metadata with the key of the restricted protocols."""
    return {f"triton-grpc-protocol-{_HEADER}": key}


def restriction(key: str, extra_arguments: list[str]) -> list[str]:
    """Return the arguments that restrict tritonserver; none where `extra_arguments` has restrictions of its own.

    Triton takes the key on its command line only: processes of the same user can read it there.
    """
    if any(argument.split("=")[0] == _OPTION for argument in extra_arguments):
        return []
    return [f"{_OPTION}={','.join(_PROTOCOLS)}:{_HEADER}={key}"]
