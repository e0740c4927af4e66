"""How sessions end that nobody ends: a caller that falls silent, a server that is told to stop.

One server of its own, with a short idle time-out; the last test stops it.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import threading
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from sadtalker_client import AsyncSadTalkerClient, ServerUnavailableError
from sadtalker_client import _live_wire as wire
from sadtalker_client._files import UploadLimits
from tritonclient.grpc import service_pb2_grpc

RATE = 16_000
IDLE_SECONDS = 4
DRAIN_SECONDS = 12
OPTIONS = ("--http-port=0", "--grpc-port=0", f"--exit-timeout-secs={DRAIN_SECONDS}")


class Running:
    """The command `sadtalker-server`, ready."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        banner = ""
        while "metrics" not in banner:
            line = process.stdout.readline()
            assert line, banner
            banner += line
        self.grpc_url, self.metrics_url = re.search(r"gRPC\s+(\S+)", banner)[1], re.search(r"(http\S+/metrics)", banner)[1]

    def metric(self, name: str, label: str = "") -> float:
        page = urllib.request.urlopen(self.metrics_url, timeout=10).read().decode()
        found = re.findall(rf"^{name}(?:\{{.*{label}.*\}})? (\S+)$", page, re.MULTILINE)
        return sum(map(float, found))
