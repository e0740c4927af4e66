"""The command, its settings, and the real server behind it."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import av
import grpc
import httpx
import pytest
from pydantic import ValidationError
from sadtalker_client import Options
from sadtalker_gateway import Settings, options
from sadtalker_gateway.cli import main
from sadtalker_gateway.fmp4 import BoxReader
from served import until
from talking_triton import FACE, TalkingTriton

CERTIFICATES = Path(__file__).parents[1] / "client" / "loopback"  # self-signed, for localhost


def test_help_tells_every_setting(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
    assert all(field.description for field in Settings.model_fields.values())


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sadtalker-gateway {metadata.version('sadtalker-triton')}\n"


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path, monkeypatch):
    file = tmp_path / "gateway.toml"
    file.write_text('port = 1\nhost = "file"\nidle_seconds = 7\napi_keys = ["k"]\n')
    monkeypatch.setenv("SADTALKER_GATEWAY_CONFIG", str(file))
    monkeypatch.setenv("SADTALKER_GATEWAY_PORT", "2")
    monkeypatch.setenv("SADTALKER_GATEWAY_HOST", "environment")
    settings = Settings(_cli_parse_args=["--port", "3"])
    assert (settings.port, settings.host, settings.idle_seconds) == (3, "environment", 7)
    assert [key.get_secret_value() for key in settings.api_keys] == ["k"]
    file.write_text("nonsense = 1\n")
    with pytest.raises(ValidationError, match="nonsense"):
        Settings()


def test_the_file_of_the_guide_is_read(tmp_path, monkeypatch):
    guide = (Path(__file__).parents[2] / "gateway" / "README.md").read_text()
    file = tmp_path / "gateway.toml"
    file.write_text(guide.partition("```toml\n")[2].partition("```")[0])
    monkeypatch.setenv("SADTALKER_GATEWAY_CONFIG", str(file))
    settings = Settings()
    assert (settings.store_options, settings.stop_seconds) == ({"region": "eu-central-1"}, 300)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--port", "x"], "port: Input should be a valid integer"),
        (["--log-level", "loud"], "log_level: String should match pattern"),
        (["--quality", "best"], "quality: String should match pattern"),
        (["--config", "/nowhere.toml"], "expected a TOML file, got /nowhere.toml"),
        (["--store", "ftp://x"], "ftp"),
        (["--c2pa-private-key", "x"], "expected c2pa_certificate and c2pa_private_key together"),
        (["--triton-certificate", "x"], "expected triton_certificate and triton_private_key together"),
        (["--proxies", "nonsense"], "'nonsense' does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_wrong_settings_end_the_command_with_a_sentence(arguments, message, capsys, monkeypatch):
    monkeypatch.setenv("SADTALKER_GATEWAY_CONFIG", "")
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown


def test_a_taken_port_is_said(common, capsys, tmp_path):
    port = common.url.rsplit(":", 1)[1]
    assert main(["--port", port, "--store", f"file://{tmp_path}"]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@contextlib.contextmanager
def running(triton, tmp_path, **settings):
    """Run the command as a process, and a client for it."""
    command = [sys.executable, "-m", "sadtalker_gateway.cli", "--port", "0", "--triton-url", triton.url]
    settings = {"STORE": f"file://{tmp_path}/store", **settings}
    environment = {**os.environ, **{f"SADTALKER_GATEWAY_{name}": value for name, value in settings.items()}}
    gateway = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=gateway.stdout.readline().split()[1], timeout=20) as http:
            yield gateway, http
    finally:
        gateway.kill()
        gateway.wait()


def test_the_command_ends_on_a_signal(triton, tmp_path):
    with running(triton, tmp_path) as (gateway, http):
        assert http.get("/readyz").status_code == 200
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(20)


def test_videos_in_progress_may_end_before_the_command_does(triton, tmp_path, serve):
    triton.pace = 0.3
    with running(triton, tmp_path, STOP_SECONDS="60") as (gateway, http):
        video = http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE}).json()
        until(lambda: http.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(50)
    assert serve().http.get(f"/v1/videos/{video['id']}").json()["status"] == "completed"


@pytest.mark.parametrize("proxies, second", [("[]", 429), ('["127.0.0.0/8"]', 202)])
def test_behind_a_proxy_that_is_named_every_caller_has_a_rate_of_its_own(triton, tmp_path, proxies, second):
    with running(triton, tmp_path, PROXIES=proxies, REQUESTS_PER_MINUTE="1") as (_, http):
        for caller, status in (("192.0.2.1", 202), ("192.0.2.2", second), ("192.0.2.1", 429)):
            headers = {"X-Forwarded-For": f"10.9.9.9, {caller}"}
            answer = http.post("/v1/videos", data={"idle": "1"}, files={"portrait": FACE}, headers=headers)
            assert answer.status_code == status, answer.text


def test_a_server_that_asks_for_a_certificate_gets_it(serve):
    certificate, key = CERTIFICATES / "certificate.pem", CERTIFICATES / "key.pem"
    pair = (key.read_bytes(), certificate.read_bytes())
    triton = TalkingTriton().start(credentials=grpc.ssl_server_credentials([pair], pair[1], require_client_auth=True))
    try:
        url = triton.url.replace("127.0.0.1", "localhost")
        trusting = {"triton_url": url, "triton_root_certificates": certificate}
        assert serve(**trusting).http.get("/readyz").status_code == 503
        gateway = serve(**trusting, triton_certificate=certificate, triton_private_key=key)
        assert gateway.http.get("/readyz").status_code == 200
    finally:
        triton.stop()


def test_every_option_of_the_client_is_offered(common):
    assert set(options.HINTS) == set(Options.__annotations__)
    assert set(options.DESCRIPTIONS) == set(Options.__annotations__)
    schema = common.http.get("/openapi.json").json()["components"]["schemas"]
    form = schema["Body_create_video_v1_videos_post"]["properties"]
    assert set(options.HINTS) <= form.keys()
    assert all(form[name].get("description") for name in options.HINTS)
    assert schema["OptionsBody"]["properties"].keys() == set(options.HINTS) - {*options.FILES, *options.FILE_LISTS}


def test_the_real_server_speaks_two_sentences(serve, tiny_server, portrait_path):
    gateway = serve(triton_url=tiny_server.grpc_url)
    assert gateway.http.get("/readyz").status_code == 200
    fields = {"prompt": "Hi. Yes!", "seed": "3"}
    files = {"portrait": portrait_path.read_bytes()}
    with gateway.http.stream("POST", "/v1/videos?stream=true", data=fields, files=files, timeout=120) as answer:
        assert answer.status_code == 200, answer.read()
        video = answer.read()
    kinds = [kind for kind, _ in BoxReader().feed(video)]
    assert kinds.count(b"moov") == 1 and kinds.count(b"moof") > 2
    lengths = {}
    for kind, step in (("video", 0.04), ("audio", 1024 / 48000)):
        with av.open(io.BytesIO(video)) as container:
            times = [frame.time for frame in container.decode(**{kind: 0})]
        assert times == pytest.approx([index * step for index in range(len(times))], abs=0.001)
        lengths[kind] = times[-1] + step
    assert lengths["audio"] == pytest.approx(lengths["video"], abs=0.001)
    wall = gateway.http.post("/v1/portraits", files={"image": b"no picture"}, timeout=60)
    assert wall.status_code == 400
    assert "expected" in wall.json()["error"]["message"]
