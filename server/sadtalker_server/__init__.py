"""Starts, watches and stops a real tritonserver over this project's model repository."""

from sadtalker_server._errors import ServerError
from sadtalker_server._server import Server

__all__ = ["Server", "ServerError"]
