"""Calls that look into or change the server ask for a key; health, metadata and inference do not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import throwaway_repository as throwaway
import tritonclient.grpc as triton
from sadtalker_server import LaunchError, Server
from sadtalker_server._restriction import choose_key
from test_server_process import EYE, command
from throwaway_requests import ask
from tritonclient.utils import InferenceServerException

RESTRICTED: dict[str, Callable[[triton.InferenceServerClient, dict[str, str]], object]] = {
    "system shared memory": lambda client, key: client.register_system_shared_memory("a", "/nowhere", 64, headers=key),
    "its status": lambda client, key: client.get_system_shared_memory_status(headers=key),
    "CUDA shared memory": lambda client, key: client.get_cuda_shared_memory_status(headers=key),
    "configuration": lambda client, key: client.get_model_config("product", headers=key),
    "repository": lambda client, key: client.get_model_repository_index(headers=key),
    "statistics": lambda client, key: client.get_inference_statistics(headers=key),
    "trace": lambda client, key: client.get_trace_settings(headers=key),
    "logging": lambda client, key: client.update_log_settings({"log_verbose_level": 0}, headers=key),
}


def refusal(question: Callable[[], object]) -> str:
    try:
        question()
    except InferenceServerException as error:
        return str(error)
    return ""


@pytest.mark.parametrize("protocol", RESTRICTED)
def test_a_key_opens_what_is_closed(server: Server, protocol: str) -> None:
    client = triton.InferenceServerClient(server.grpc_url)
    wrong = dict.fromkeys(server.admin_headers, "wrong")
    for headers in ({}, wrong):
        text = refusal(lambda headers=headers: RESTRICTED[protocol](client, headers))
        assert "This protocol is restricted, expecting header 'triton-grpc-protocol-admin-key'" in text
    assert "restricted" not in refusal(lambda: RESTRICTED[protocol](client, server.admin_headers))


def test_inference_health_and_metadata_are_open(server: Server) -> None:
    client = triton.InferenceServerClient(server.grpc_url)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("product")
    assert client.get_server_metadata().name == "triton"
    assert client.get_model_metadata("product").name == "product"
    np.testing.assert_array_equal(ask(server.grpc_url, "product", np.array([2])), EYE)


def test_every_server_has_another_key(repository: Path) -> None:
    keys = {choose_key(None) for _ in range(3)}
    assert len(keys) == 3 and all(len(key) == 64 for key in keys)
    assert Server(repository, open_protocols=True).admin_headers == {}


def test_the_key_is_given_by_argument_then_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SADTALKER_ADMIN_KEY", "from a variable")
    assert choose_key(None) == "from a variable"
    assert choose_key("from an argument") == "from an argument"


@pytest.mark.parametrize("key", ["", "short", " spaces around ", "two\nlines", "schlüssel"])
def test_unusable_keys(key: str) -> None:
    with pytest.raises(
        LaunchError, match=rf"the admin key has {len(key)} characters: expected at least 8 of printable"
    ):
        choose_key(key)


def test_the_command_reads_the_key_from_a_file(tmp_path: Path) -> None:
    models, file = tmp_path / "models", tmp_path / "key"
    throwaway.add_model(models, "product", throwaway.repeated_product(), throwaway.REPEATED_PRODUCT_CONFIG)
    file.write_text("a key, with: strange = signs\n")
    with command(models, f"--admin-key-file={file}") as running:
        client = triton.InferenceServerClient(running.grpc_url)
        assert "restricted" in refusal(client.get_inference_statistics)
        key = {"triton-grpc-protocol-admin-key": "a key, with: strange = signs"}
        assert client.get_inference_statistics(headers=key).model_stats
