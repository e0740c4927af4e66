"""The object store: a local folder, and S3 as moto emulates it in a process of its own.

Azure Blob Storage has the same tests in azurite_storage.py, which `make test-azurite` runs.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from sadtalker_gateway.storage import Storage
from served import until
from talking_triton import FACE, talking_video

CONTAINER = "videos"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def s3():
    """Yield the options of a store in a running moto, which has the bucket already."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    # a region of its own, so that obstore has to be told it, as with any but Amazon's first
    options = {"endpoint": endpoint, "access_key_id": "id", "secret_access_key": "secret", "region": "eu-west-1"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(endpoint), 60)
        place = (
            "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
        )
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=id/20260101/eu-west-1/s3/aws4_request"}
        answer = httpx.put(f"{endpoint}/{CONTAINER}", content=place, headers=signed)
        assert answer.status_code == 200, answer.text
        yield options
    finally:
        process.terminate()
        process.wait()


def answers(endpoint: str) -> bool:
    try:
        return httpx.get(endpoint).status_code > 0
    except httpx.TransportError:
        return False


async def scenario(storage: Storage) -> None:
    """Write, read, list and delete."""
    await storage.put("a/b/one", b"1" * 10)
    await storage.put("a/c", b"22")
    assert await storage.get("a/b/one") == b"1" * 10
    assert await storage.get("a/nothing") is None
    assert await storage.head("a/nothing") is None
    found = await storage.head("a/c")
    assert (found.name, found.size) == ("a/c", 2)
    assert abs(found.changed_at.timestamp() - time.time()) < 60
    assert {entry.name async for entry in storage.list("a")} == {"a/b/one", "a/c"}
    assert b"".join([piece async for piece in storage.stream("a/b/one", 2, 5)]) == b"111"
    await storage.put("a/c", b"new")
    assert await storage.get("a/c") == b"new"
    await storage.delete("a/c", "a/nothing", "a/b/one")
    assert [entry async for entry in storage.list("a")] == []


def test_a_local_folder(tmp_path):
    storage = Storage(f"file://{tmp_path}/new/folder")
    asyncio.run(scenario(storage))
    assert asyncio.run(storage.signed_url("a")) is None
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20_000_000))
    asyncio.run(storage.put("large", large))
    assert (tmp_path / "new/folder/large").read_bytes() == large.read_bytes()


def test_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asyncio.run(Storage("file://videos").put("x", b"x"))
    assert Path("videos/x").read_bytes() == b"x"


def test_options_that_do_not_exist_are_refused():
    for name in ("nonsense", "allow_http"):
        with pytest.raises(ValueError, match="store_options: expected obstore's options for az://c"):
            Storage("az://c", {"account_name": "a", name: "true"})


def test_s3(s3):
    asyncio.run(scenario(Storage(f"s3://{CONTAINER}", s3)))


def test_a_gateway_over_s3_gives_signed_urls(s3, serve, triton):
    two_replicas(f"s3://{CONTAINER}/some/prefix", s3, "X-Amz-Signature=", serve, triton)


def two_replicas(store, options, signature, serve, triton):
    """Make a video at one gateway, follow, read and delete it at others."""
    triton.pace = 0.3
    one, other = (serve(store=store, store_options=options) for _ in range(2))
    video = one.http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE}).json()
    until(lambda: other.http.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    video = other.finished(video)
    assert video["url"].startswith(options["endpoint"]) and signature in video["url"]
    assert httpx.get(video["url"]).content == talking_video(50)
    assert httpx.get(video["url"].partition("?")[0]).status_code in (403, 404)  # not without the signature
    path = f"/v1/videos/{video['id']}/content"
    assert other.http.get(path, headers={"Range": "bytes=5-9"}).content == talking_video(50)[5:10]
    assert one.http.delete(f"/v1/videos/{video['id']}").status_code == 200
    assert httpx.get(video["url"]).status_code == 404
