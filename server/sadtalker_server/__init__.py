"""Starts, watches and stops a real tritonserver over this project's model repository."""

from sadtalker_server._errors import LaunchError
from sadtalker_server._server import Server

__all__ = ["LaunchError", "Server"]
