"""Coefficients through the client and in files."""

import asyncio
import io
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
from fake_triton import final, fragment
from sadtalker_client import COEFFICIENTS, AsyncSadTalkerClient, InvalidInputError, ProtocolError, SadTalkerClient
from sadtalker_client._cli import main
from sadtalker_client._coefficients import load_coefficients, plot_coefficients, save_coefficients

VALUES = np.random.default_rng(0).standard_normal((7, 70)).astype(np.float32)


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_columns_have_names():
    assert len(COEFFICIENTS) == len(set(COEFFICIENTS)) == 70
    assert COEFFICIENTS[64:] == ("pitch", "yaw", "roll", "x", "y", "z")


def test_the_client_asks_for_coefficients_and_sends_them(server):
    server.answer = lambda request: [fragment(npy(VALUES), 7, 7), final()]
    with SadTalkerClient(server.url) as client:
        np.testing.assert_array_equal(client.coefficients(b"speech", b"portrait", seed=3), VALUES)
        client.animate(b"portrait", b"speech", coefficients=VALUES).read()
    asked, sent = server.requests
    assert [tensor.name for tensor in asked.inputs] == ["image", "audio", "seed", "coefficients_only"]
    tensors = dict(zip((tensor.name for tensor in sent.inputs), sent.raw_input_contents, strict=True))
    assert tensors["coefficients"] == struct.pack(f"<{7 * 70}f", *VALUES.ravel())
    assert list(sent.inputs[-1].shape) == [1, 7, 70]


@pytest.mark.parametrize("answer", [b"video", npy(VALUES.astype(float)), npy(VALUES[:, :3]), npy(VALUES[0])])
def test_another_answer_is_a_protocol_error(server, answer):
    server.answer = lambda request: [fragment(answer, 7, 7), final()]
    with SadTalkerClient(server.url) as client, pytest.raises(ProtocolError):
        client.coefficients(None, b"portrait", driving=b"film")


@pytest.mark.parametrize("values", [VALUES[:, :69], VALUES[0], "many", [[1, "a"]]])
def test_a_wrong_shape_is_refused_before_it_is_sent(server, values):
    with (
        SadTalkerClient(server.url) as client,
        pytest.raises(InvalidInputError, match="coefficients: expected an"),
    ):
        client.animate(b"portrait", b"speech", coefficients=values)
    assert not server.requests


def test_files_keep_names_and_values(tmp_path: Path):
    save_coefficients(tmp_path / "a.npz", VALUES)
    np.testing.assert_array_equal(load_coefficients(tmp_path / "a.npz"), VALUES)
    plot_coefficients(tmp_path / "a.png", VALUES)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "b.npz").write_bytes(b"hello")
    np.savez(tmp_path / "c.npz", coefficients=VALUES[:, :3], names=np.array(COEFFICIENTS))
    np.savez(tmp_path / "d.npz", values=VALUES)
    np.save(tmp_path / "e.npy", VALUES)
    for name in ("b.npz", "c.npz", "d.npz", "e.npy", "missing.npz"):
        with pytest.raises(InvalidInputError, match=r"^coefficients: expected"):
            load_coefficients(tmp_path / name)


def test_the_command_line_writes_and_reads_them(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # which the command sets for a process of its own
    Path("a.png").write_bytes(b"picture")
    Path("b.wav").write_bytes(b"sound")
    server.answer = lambda request: [fragment(npy(VALUES), 7, 7), final()]
    where = ["--url", server.url]
    assert main(["coefficients", "a.png", "b.wav", "-o", "c.npz", "--plot", "c.png", *where]) == 0
    np.testing.assert_array_equal(load_coefficients("c.npz"), VALUES)
    assert Path("c.png").exists()
    assert main(["animate", "a.png", "--coefficients", "c.npz", "-o", "o.mp4", *where]) == 0
    assert [tensor.name for tensor in server.requests[1].inputs] == ["image", "coefficients"]
    assert main(["animate", "a.png", "--coefficients", "b.wav", "-o", "o.mp4", *where]) == 2


def test_in_asyncio(server):
    server.answer = lambda request: [fragment(npy(VALUES), 7, 7), final()]

    async def main() -> np.ndarray:
        async with AsyncSadTalkerClient(server.url) as client:
            return await client.coefficients(b"speech", b"portrait")

    np.testing.assert_array_equal(asyncio.run(main()), VALUES)
