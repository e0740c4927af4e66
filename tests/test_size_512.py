"""Pictures of 512 pixels: exported, configured, and through the real server."""

import io
import shutil

import pytest
from PIL import Image
from sadtalker_client import InvalidInputError, SadTalkerClient
from sadtalker_export.cli import main as sadtalker_export
from sadtalker_server import Server


def test_a_server_of_512_pixels(tiny_repository, tmp_path, portrait_path):
    repository = tmp_path / "model_repository"
    shutil.copytree(tiny_repository, repository, ignore=shutil.ignore_patterns("*.onnx", "exported.json"))
    assert sadtalker_export(["onnx", "--weights", "tiny", "--repository", str(repository), "--size", "512"]) == 0
    with (
        Server(repository, tritonserver="embedded", model_config_name="512", log_file=tmp_path / "log") as server,
        SadTalkerClient(server.grpc_url, timeout=200) as client,
    ):
        with Image.open(io.BytesIO(client.poster(portrait_path, size=512))) as picture:
            assert picture.size == (512, 512)
            assert len(picture.getcolors(1 << 20)) > 1000
        with pytest.raises(InvalidInputError, match=r"^size: expected 512, which this server renders, got 256$"):
            client.poster(portrait_path, size=256)
