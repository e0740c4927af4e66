"""What the package promises to those who import it."""

import inspect
import subprocess
import sys

import sadtalker_client
from sadtalker_client import Animation, AsyncAnimation, AsyncSadTalkerClient, SadTalkerClient, SadTalkerError


def test_the_public_names_are_these():
    assert sorted(sadtalker_client.__all__) == [
        "Animation",
        "AnimationCancelledError",
        "AsyncAnimation",
        "AsyncSadTalkerClient",
        "DeadlineExceededError",
        "Fragment",
        "InvalidInputError",
        "KeyFrames",
        "Options",
        "ProtocolError",
        "QueueFullError",
        "SadTalkerClient",
        "SadTalkerError",
        "ServerError",
        "ServerUnavailableError",
        "StalledError",
        "TLS",
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
    program = "import sadtalker_client, sys; print(*{'torch', 'rich', 'sadtalker_server'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
