"""The object store: a local folder, and Azure Blob Storage as Azurite emulates it in a process of its own."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from sadtalker_gateway.storage import Storage
from served import until
from talking_triton import FACE, talking_video

# Azurite's well-known account, the same for everybody.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "videos"


def azurite_command() -> str | None:
    """Return the program: `azurite-blob` on PATH, or what AZURITE names."""
    return os.environ.get("AZURITE") or shutil.which("azurite-blob")


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    """Yield the options of a store in a running Azurite."""
    command = azurite_command()
    if command is None:
        pytest.skip("Azurite is not installed: npm install --global azurite, or name azurite-blob in AZURITE")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    arguments = ["--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen([command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        until(lambda: answers(endpoint), 60)
        options = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": endpoint}
        create_container(endpoint)
        yield options
    finally:
        process.terminate()
        process.wait()


def answers(endpoint: str) -> bool:
    try:
        return httpx.get(endpoint).status_code > 0
    except httpx.TransportError:
        return False


def create_container(endpoint: str) -> None:
    """Create the container with a request signed by the shared key (Microsoft's "Authorize with Shared Key")."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    text = "PUT" + "\n" * 12 + named + f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    answer = httpx.put(f"{endpoint}/{CONTAINER}?restype=container", headers=headers)
    assert answer.status_code == 201, answer.text


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


def test_azure_blob_storage(azurite):
    asyncio.run(scenario(Storage(f"az://{CONTAINER}", azurite)))


def test_a_gateway_over_azure_blob_storage_gives_signed_urls(azurite, serve, triton):
    triton.pace = 0.3
    one, other = (serve(store=f"az://{CONTAINER}/some/prefix", store_options=azurite) for _ in range(2))
    video = one.http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE}).json()
    until(lambda: other.http.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    video = other.finished(video)
    assert video["url"].startswith(azurite["endpoint"]) and "sig=" in video["url"]
    assert httpx.get(video["url"]).content == talking_video(50)
    assert httpx.get(video["url"].partition("?")[0]).status_code in (403, 404)  # not without the signature
    path = f"/v1/videos/{video['id']}/content"
    assert other.http.get(path, headers={"Range": "bytes=5-9"}).content == talking_video(50)[5:10]
    assert one.http.delete(f"/v1/videos/{video['id']}").status_code == 200
    assert httpx.get(video["url"]).status_code == 404
