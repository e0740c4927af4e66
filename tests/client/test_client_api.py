"""Promises of the package to those who import it."""

import inspect
import subprocess
import sys
from importlib import metadata

import sadtalker_client
from packaging.requirements import Requirement
from sadtalker_client import Animation, AsyncAnimation, AsyncSadTalkerClient, SadTalkerClient, SadTalkerError

HEAVY = {
    *("torch", "onnx", "onnxruntime", "av", "cv2", "scipy", "PIL", "rich", "matplotlib"),
    *("sadtalker_server", "sadtalker_runtime", "sadtalker_export"),
}


def test_the_public_names_are_these():
    assert sorted(sadtalker_client.__all__) == [
        "Animation",
        "AnimationCancelledError",
        "AsyncAnimation",
        "AsyncLiveSession",
        "AsyncSadTalkerClient",
        "COEFFICIENTS",
        "DeadlineExceededError",
        "Fragment",
        "InvalidInputError",
        "KeyFrames",
        "Latency",
        "LiveFrame",
        "LiveOptions",
        "LiveSession",
        "Options",
        "ProtocolError",
        "QueueFullError",
        "SadTalkerClient",
        "SadTalkerError",
        "ServerError",
        "ServerUnavailableError",
        "StalledError",
        "TLS",
        "UploadLimits",
    ]
    assert all(hasattr(sadtalker_client, name) for name in sadtalker_client.__all__)


def test_every_exception_hangs_in_the_documented_tree():
    depth = {}
    for line in sadtalker_client._exceptions.__doc__.splitlines():
        name = line.strip("│├└─ ").partition(" ")[0]
        if name.endswith("Error"):
            depth[name] = len(line) - len(line.lstrip("│├└─ "))
    exceptions = {name for name in sadtalker_client.__all__ if name.endswith("Error")}
    assert depth.keys() == exceptions
    assert {getattr(sadtalker_client, name).__mro__.index(SadTalkerError) * 4 for name in exceptions} == {0, 4, 8}
    assert all(getattr(sadtalker_client, name).__mro__.index(SadTalkerError) * 4 == depth[name] for name in exceptions)


def test_both_clients_take_the_same_arguments():
    for blocking, asynchronous, names in (
        (
            SadTalkerClient,
            AsyncSadTalkerClient,
            ("__init__", "animate", "poster", "is_ready", "wait_until_ready", "close"),
        ),
        (Animation, AsyncAnimation, ("read", "save", "cancel")),
    ):
        for name in names:
            ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (blocking, asynchronous))
            assert ours.parameters == theirs.parameters, name


def test_importing_it_is_light():
    program = f"import sadtalker_client, sys; print(*{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_installing_it_is_light():
    wanted, found = ["sadtalker-triton"], {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = metadata.distribution(name)
            needed = map(Requirement, found[name].requires or [])
            wanted += [each.name for each in needed if is_installed_with_it(each.marker)]
    del found["sadtalker-triton"]
    assert {"numpy", "rich", "tritonclient", "grpcio"} <= found.keys()
    assert not found.keys() & {
        "torch",
        "onnx",
        "onnxruntime-openvino",
        "av",
        "opencv-python-headless",
        "scipy",
        "pillow",
    }
    files = [file.locate() for package in found.values() for file in package.files or []]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 250e6  # 150 MB when this was written


def is_installed_with_it(marker):
    """Return whether a requirement holds for `pip install .` on this machine; tritonclient's extra grpc is ours."""
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", "grpc"))
