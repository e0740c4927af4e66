"""How a client reaches its server: address and encryption.

`loopback/` holds a key and a certificate for 127.0.0.1 that protect nothing, valid for a hundred years.
"""

import time
from pathlib import Path

import grpc
import pytest
from fake_triton import FakeTriton, error
from sadtalker_client import (
    TLS,
    AsyncSadTalkerClient,
    InvalidInputError,
    SadTalkerClient,
    ServerError,
    ServerUnavailableError,
)

KEY = Path(__file__).parent / "loopback" / "key.pem"
CERTIFICATE = Path(__file__).parent / "loopback" / "certificate.pem"
INPUT = (b"picture", b"sound")


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def encrypted(request):
    """Yield a server that speaks TLS only; with mutual TLS it wants to know its clients."""
    pair = (KEY.read_bytes(), CERTIFICATE.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pair[1] if request.param else None, request.param)
    fake = FakeTriton().start(credentials=credentials)
    fake.mutual = request.param
    yield fake
    fake.stop()


def test_tls(encrypted, face):
    identity = {"private_key": KEY, "certificate_chain": CERTIFICATE} if encrypted.mutual else {}
    assert face(encrypted.url, tls=TLS(CERTIFICATE, **identity)).read(*INPUT) == b"onetwothree"


def test_an_unknown_authority_is_refused(encrypted, face):
    with pytest.raises(ServerUnavailableError, match=r"(?i)certificate|handshake|ssl"):
        face(encrypted.url, tls=True).read(*INPUT)


def test_a_client_without_encryption_gets_nothing(encrypted, face):
    with pytest.raises(ServerUnavailableError):
        face(encrypted.url).read(*INPUT)
    assert encrypted.requests == []


@pytest.mark.parametrize("client", [SadTalkerClient, AsyncSadTalkerClient])
def test_half_an_identity_is_refused(client):
    with pytest.raises(InvalidInputError, match="private_key and certificate_chain together"):
        client("127.0.0.1:1", tls=TLS(private_key=KEY))


@pytest.mark.parametrize("client", [SadTalkerClient, AsyncSadTalkerClient])
def test_a_missing_certificate_is_named(client, tmp_path):
    with pytest.raises(InvalidInputError, match=r"tls: root_certificates: cannot read .*no\.pem: No such file"):
        client("127.0.0.1:1", tls=TLS(tmp_path / "no.pem"))


@pytest.mark.parametrize("client", [SadTalkerClient, AsyncSadTalkerClient])
def test_a_web_address_is_refused(client):
    with pytest.raises(InvalidInputError, match=r"expected host:port or a gRPC target .* got 'http://localhost:8001'"):
        client("http://localhost:8001")


def test_names_are_resolved(server, face):
    port = server.url.partition(":")[2]
    assert face(f"dns:///localhost:{port}").read(*INPUT) == b"onetwothree"


def test_a_new_client_finds_a_restarted_server_at_once(face, free_port):
    before = FakeTriton().start(free_port)
    before.answer = lambda request: [error("INTERNAL: out of memory")]
    with pytest.raises(ServerError) as kept:  # the error keeps the first client's frames, and so its channel, alive
        face(before.url).read(*INPUT)
    before.stop()
    time.sleep(0.5)  # long enough for a channel to find nobody there
    after = FakeTriton().start(free_port)
    try:
        assert face(after.url).read(*INPUT) == b"onetwothree"
    finally:
        after.stop()
    assert kept.value


def test_animations_are_spread_over_the_addresses_of_a_target(face):
    servers = [FakeTriton().start() for _ in range(2)]
    try:
        with SadTalkerClient("ipv4:" + ",".join(each.url for each in servers)) as client:
            client.wait_until_ready(10)
            for _ in range(20):
                client.animate(*INPUT).read()
        assert min(len(each.requests) for each in servers) >= 5
    finally:
        for each in servers:
            each.stop()
