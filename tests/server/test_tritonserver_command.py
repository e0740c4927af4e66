"""Which tritonserver is started, with which arguments and environment. A script stands in for the binary."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import socket
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import sadtalker_server
import throwaway_repository as throwaway
from sadtalker_server import LaunchError, Server, _installation

_NOTE_AND_FAIL = """
import json, os, sys
arguments = [argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[1:]]
options = dict(arguments, **{"backend-config": [value for name, value in arguments if name == "backend-config"]})
folder = options.get("backend-directory")
backends = {name: os.path.realpath(os.path.join(folder, name)) for name in os.listdir(folder)} if folder else None
with open(sys.argv[0] + ".json", "w") as note:
    json.dump({"options": options, "environment": dict(os.environ), "backends": backends}, note)
sys.exit("no")
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    throwaway.add_model(folder, "doubling", throwaway.doubling(), throwaway.DOUBLING_CONFIG)
    return folder


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a tritonserver that notes how it was called and fails, with a Python backend beside it."""
    binary = tmp_path / "triton" / "bin" / "tritonserver"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!{sys.executable}\n{_NOTE_AND_FAIL}")
    binary.chmod(0o755)
    (tmp_path / "triton" / "backends" / "python").mkdir(parents=True)
    return binary


def called(server: Server, binary: Path) -> dict[str, Any]:
    """Return how `server` called `binary`: options, environment, and the backends in the directory it was given."""
    with pytest.raises(LaunchError, match=r"failed to start \(exit code 1\):\n(.*\n)*no\nThe whole log is in"), server:
        pass
    return json.loads(binary.with_name("tritonserver.json").read_text())


def refusal(server: Server) -> str:
    with pytest.raises(LaunchError) as failure, server:
        pass
    assert server.exit_code is None, "tritonserver was started"
    return str(failure.value)


def test_public_api() -> None:
    assert sadtalker_server.__all__ == ["LaunchError", "Server"]


def test_options(models: Path, installed: Path, tmp_path: Path) -> None:
    (models / "doubling" / "configs").mkdir()
    (models / "doubling" / "configs" / "fast.pbtxt").write_text('name: "doubling" backend: "onnxruntime"')
    server = Server(
        models,
        tritonserver=str(installed),
        model_config_name="fast",
        exit_timeout_secs=7,
        log_file=tmp_path / "log",
        log_verbose=2,
        admin_key="a key of ours",
        extra_arguments=["--grpc-use-ssl=true", "--strict-readiness=false"],
    )
    options = called(server, installed)["options"]
    prefix, stub_timeout, threads = options.pop("backend-config")
    assert prefix.startswith(f"python,shm-region-prefix-name=sadtalker_{os.getpid()}_")
    assert (stub_timeout, threads) == ("python,stub-timeout-seconds=120", "python,thread-pool-size=64")
    assert options.pop("backend-directory")
    assert 1024 <= int(options.pop("metrics-port")) != int(server.http_url.rpartition(":")[2])
    assert options == {
        "model-repository": str(models),
        "model-control-mode": "none",
        "model-config-name": "fast",
        "disable-auto-complete-config": "",
        "strict-readiness": "false",
        "exit-on-error": "true",
        "exit-timeout-secs": "7",
        "allow-http": "false",
        "grpc-address": "127.0.0.1",
        "grpc-port": server.grpc_url.removeprefix("127.0.0.1:"),
        "grpc-infer-allocation-pool-size": "0",
        "grpc-use-ssl": "true",
        "metrics-address": "127.0.0.1",
        "grpc-restricted-protocol": (
            "shared-memory,model-config,model-repository,statistics,trace,logging:admin-key=a key of ours"
        ),
        "metrics-config": "histogram_latencies=true",
        "log-verbose": "2",
    }


@pytest.mark.parametrize(
    "choice", [{"open_protocols": True}, {"extra_arguments": ["--grpc-restricted-protocol=logging:mine=1"]}]
)
def test_no_restriction_beside_the_chosen_one(
    models: Path, installed: Path, tmp_path: Path, choice: dict[str, Any]
) -> None:
    options = called(Server(models, tritonserver=str(installed), log_file=tmp_path / "log", **choice), installed)
    given = options["options"].get("grpc-restricted-protocol")
    assert given == (None if "open_protocols" in choice else "logging:mine=1")


@pytest.mark.parametrize(("crashes", "starts"), [(0, 1), (1, 2), (2, 3), (3, 3)])
def test_a_crash_at_the_start_is_tried_again_twice(models: Path, tmp_path: Path, crashes: int, starts: int) -> None:
    binary, count = tmp_path / "tritonserver", tmp_path / "starts"
    binary.write_text(
        f'#!/bin/sh\necho start >> {count}\n[ "$(wc -l < {count})" -gt {crashes} ] && exit 1\nkill -SEGV $$\n'
    )
    binary.chmod(0o755)
    code = -11 if crashes == 3 else 1
    server = Server(models, tritonserver=str(binary), log_file=tmp_path / "log")
    with pytest.raises(LaunchError, match=rf"failed to start \(exit code {code}\)"), server:
        pass
    assert len(count.read_text().splitlines()) == starts


def test_a_native_onnxruntime_backend_is_not_shadowed(models: Path, installed: Path, tmp_path: Path) -> None:
    (installed.parents[1] / "backends" / "onnxruntime").mkdir()
    call = called(Server(models, tritonserver=str(installed), log_file=tmp_path / "log"), installed)
    assert "backend-directory" not in call["options"]
    del call["environment"]["SADTALKER_DRAIN_FILE"]
    assert call["environment"] == dict(os.environ)


def test_ours_joins_the_backends_of_a_server_without_one(models: Path, installed: Path, tmp_path: Path) -> None:
    call = called(Server(models, tritonserver=str(installed), log_file=tmp_path / "log"), installed)
    directory = call["options"]["backend-directory"]
    own = str(installed.parents[1] / "backends" / "python")
    assert call["backends"] == {"python": own, "onnxruntime": os.path.realpath(f"{directory}/onnxruntime")}
    assert not Path(call["options"]["backend-directory"]).exists(), "the folder of backends was left behind"


def test_auto_prefers_the_server_on_path(
    models: Path, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    assert called(Server(models, log_file=tmp_path / "log"), installed)["options"]["allow-http"] == "false"


def test_no_tritonserver_at_all(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.4.6")  # what the client alone installs
    assert refusal(Server(models)) == (
        "no tritonserver on PATH, and none embedded: "
        "pip install '.[server]' in a checkout of sadtalker-triton, or its release's wheel with that extra"
    )
    assert refusal(Server(models, tritonserver="/nowhere")) == "tritonserver: /nowhere is no executable file"


@pytest.mark.parametrize("has_cuda", [False, True])
def test_gpus_are_hidden_from_an_onnxruntime_without_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_cuda: bool
) -> None:
    package = tmp_path / "packages" / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").touch()
    if has_cuda:
        (package / "capi" / "libonnxruntime_providers_cuda.so").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(package.parent)
    folder = tmp_path / "backends"
    folder.mkdir()
    environment = _installation.find_tritonserver("embedded", folder).environment
    assert environment.get("CUDA_VISIBLE_DEVICES") == (None if has_cuda else "")


def test_the_embedded_server_asks_for_large_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = []
    for folder, given in (("unset", None), ("set", "glibc.malloc.perturb=1")):
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
        if given:
            monkeypatch.setenv("GLIBC_TUNABLES", given)
        (tmp_path / folder).mkdir()
        environment = _installation.find_tritonserver("embedded", tmp_path / folder).environment
        settings.append(environment["GLIBC_TUNABLES"])
    assert settings == ["glibc.malloc.hugetlb=1", "glibc.malloc.perturb=1"]


@pytest.mark.parametrize(
    ("function", "answer", "message"),
    [
        ("machine", "aarch64", "runs on Linux x86_64, this is Linux aarch64; use the container image instead"),
        ("system", "Darwin", "runs on Linux x86_64, this is Darwin x86_64; use the container image instead"),
        (
            "libc_ver",
            ("glibc", "2.31"),
            "needs glibc 2.35 or newer, this is glibc 2.31; use the container image instead",
        ),
        ("libc_ver", ("", ""), "needs glibc 2.35 or newer, this is another C library; use the container image instead"),
    ],
)
def test_platforms_without_an_embedded_server(
    models: Path, monkeypatch: pytest.MonkeyPatch, function: str, answer: Any, message: str
) -> None:
    monkeypatch.setattr(platform, function, lambda: answer)
    assert message in refusal(Server(models, tritonserver="embedded"))


def test_numpy_2_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "2.4.0")
    text = refusal(Server(models, tritonserver="embedded"))
    assert text.startswith("numpy 2.4.0 is installed") and text.endswith("pip install 'numpy<2'")


def test_a_missing_libpython_names_its_package(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(_installation, "find_library", lambda name: None)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = refusal(Server(models, tritonserver="embedded"))
    assert f"needs libpython{version}.so.1.0" in text
    assert f"install the package libpython{version} (Debian, Ubuntu)" in text
    assert "--enable-shared (pyenv)" in text


@pytest.mark.parametrize("service", ["HTTP", "gRPC"])
def test_a_taken_port_is_named(models: Path, service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = Server(models, **{f"{service.lower()}_port": port})
        assert refusal(server) == f"{service} port {port} on 127.0.0.1: already in use; 0 takes a free one"


def test_two_services_cannot_share_a_port(models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    text = refusal(Server(models, http_port=port, grpc_port=port))
    assert text == f"gRPC port {port} on 127.0.0.1: already in use; 0 takes a free one"


def test_impossible_addresses(models: Path, tmp_path: Path) -> None:
    assert refusal(Server(models, grpc_port=70000)).startswith("gRPC port 70000 on 127.0.0.1: ")
    assert refusal(Server(models, host="192.0.2.1")).startswith("HTTP port 0 on 192.0.2.1: ")
    log = tmp_path / "missing" / "log"
    text = refusal(Server(models, tritonserver="embedded", log_file=log))
    assert text == f"log file {log} cannot be written: No such file or directory"
