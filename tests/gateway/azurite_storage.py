"""Azure Blob Storage, as Azurite emulates it in a process of its own: `make test-azurite`.

Azurite is an npm package, so these tests are not among those that pytest collects by itself. AZURITE names its program
azurite-blob.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import subprocess
from email.utils import formatdate

import httpx
import pytest
from sadtalker_gateway.storage import Storage
from served import until
from test_storage import CONTAINER, answers, free_port, scenario, two_replicas

# Azurite's well-known account, the same for everybody.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    """Yield the options of a store in a running Azurite."""
    port = free_port()
    folder = tmp_path_factory.mktemp("azurite")
    arguments = ["--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen(
        [os.environ["AZURITE"], *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        until(lambda: answers(endpoint), 60)
        create_container(endpoint)
        yield {"account_name": ACCOUNT, "account_key": KEY, "endpoint": endpoint}
    finally:
        process.terminate()
        process.wait()


def create_container(endpoint: str) -> None:
    """Create the container with a request signed by the shared key (Microsoft's "Authorize with Shared Key")."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    text = "PUT" + "\n" * 12 + named + f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    answer = httpx.put(f"{endpoint}/{CONTAINER}?restype=container", headers=headers)
    assert answer.status_code == 201, answer.text


def test_azure_blob_storage(azurite):
    asyncio.run(scenario(Storage(f"az://{CONTAINER}", azurite)))


def test_a_gateway_over_azure_blob_storage_gives_signed_urls(azurite, serve, triton):
    two_replicas(f"az://{CONTAINER}/some/prefix", azurite, "sig=", serve, triton)
