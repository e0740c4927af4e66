"""C2PA signatures of finished videos."""

import datetime
import io
import json

import av
import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError
from sadtalker_gateway import Settings, create_app
from sadtalker_gateway.provenance import SOURCE_TYPE
from talking_triton import FACE, talking_video

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return the paths of a certificate chain and its private key, made for this test."""
    now = datetime.datetime.now(datetime.timezone.utc)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def name(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, common),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A test"),
            ]
        )

    def usage(**chosen: bool) -> x509.KeyUsage:
        names = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        return x509.KeyUsage(**{each: chosen.get(each, False) for each in names})

    def builder(subject: str, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("root"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )

    root = (
        builder("root", root_key.public_key())
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(usage(key_cert_sign=True, crl_sign=True), True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        builder("signer", key.public_key())
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(usage(digital_signature=True), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .sign(root_key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "chain.pem", folder / "key.pem"


def test_finished_videos_are_signed_as_ai_generated(serve, certificate):
    chain, key = certificate
    gateway = serve(c2pa_certificate=chain, c2pa_private_key=key)
    video = gateway.http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE}).json()
    video = gateway.finished(video)
    assert video["status"] == "completed", video
    signed = gateway.http.get(video["url"]).content
    assert signed != talking_video(50)
    with c2pa.Reader("video/mp4", io.BytesIO(signed)) as reader:
        report = json.loads(reader.json())
    manifest = report["manifests"][report["active_manifest"]]
    actions = next(a for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))["data"]["actions"]
    assert [(action["action"], action["digitalSourceType"]) for action in actions] == [("c2pa.created", SOURCE_TYPE)]
    assert manifest["claim_generator_info"][0]["name"] == "sadtalker-gateway"
    # The test's own root is not on anybody's list of trust; everything else holds.
    failures = {entry["code"] for entry in report.get("validation_status", [])}
    assert failures <= {"signingCredential.untrusted"}, report["validation_status"]
    for kind, count in (("video", 50), ("audio", 94)):
        with av.open(io.BytesIO(signed)) as container:
            assert sum(1 for _ in container.decode(**{kind: 0})) == count


def test_a_changed_video_no_longer_fits_its_signature(serve, certificate):
    chain, key = certificate
    gateway = serve(c2pa_certificate=chain, c2pa_private_key=key)
    video = gateway.finished(gateway.http.post("/v1/videos", data={"idle": "1"}, files={"portrait": FACE}).json())
    signed = bytearray(gateway.http.get(video["url"]).content)
    signed[-10] ^= 0xFF
    with c2pa.Reader("video/mp4", io.BytesIO(bytes(signed))) as reader:
        failures = {entry["code"] for entry in json.loads(reader.json())["validation_status"]}
    assert "assertion.bmffHash.mismatch" in failures


def test_a_key_without_its_certificate_is_refused(certificate, tmp_path):
    chain, key = certificate
    with pytest.raises(ValidationError, match="c2pa_certificate and c2pa_private_key together"):
        Settings(c2pa_private_key=key)
    with pytest.raises(c2pa.C2paError):
        create_app(Settings(c2pa_certificate=key, c2pa_private_key=chain, store=f"file://{tmp_path}"))
