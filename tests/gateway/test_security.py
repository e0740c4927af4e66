"""Keys, rates, sizes, headers."""

import asyncio
import logging
import time

import httpx
import pytest
from sadtalker_gateway.security import PUBLIC, Keys, RateLimiter
from talking_triton import FACE, error


def test_without_a_key_nothing_is_answered(serve, caplog):
    caplog.set_level(logging.DEBUG)
    gateway = serve(api_keys=["one-secret", "two-secret"])
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "one-secret"},
        {"Authorization": "Basic x"},
    ):
        answer = gateway.http.get("/v1/voices", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    gateway.http.headers["Authorization"] = "Bearer one-secret"
    video = gateway.http.post("/v1/videos", data={"idle": "1"}, files={"portrait": FACE}).json()
    assert gateway.finished(video)["status"] == "completed"
    gateway.http.headers["Authorization"] = "Bearer two-secret"  # what one key made, another does not see
    assert gateway.http.get(f"/v1/videos/{video['id']}").status_code == 404
    assert gateway.http.get(f"/v1/videos/{video['id']}/content").status_code == 404
    assert gateway.http.delete(f"/v1/videos/{video['id']}").status_code == 404
    assert gateway.http.get("/v1/videos").json()["data"] == []
    for path in ("/healthz", "/", "/metrics"):
        assert httpx.get(gateway.url + path).status_code == 200
    assert "secret" not in caplog.text
    assert "secret" not in repr(gateway.app.state.gateway.settings)


def test_a_key_stands_for_its_owner():
    assert Keys([]).owner(None) == PUBLIC
    keys = Keys(["a", "b"])
    assert keys.owner("Bearer a") == keys.owner("bearer a") != keys.owner("Bearer b")
    assert keys.owner("Bearer c") is keys.owner("Bearer") is keys.owner(None) is keys.owner("Token a") is None


def test_rates_refill():
    now = 0.0
    limiter = RateLimiter(2, clock=lambda: now)
    assert [limiter.take("a"), limiter.take("a"), limiter.take("b")] == [0, 0, 0]
    assert limiter.take("a") == pytest.approx(30)
    now = 20.0
    assert limiter.take("a") == pytest.approx(10)
    now = 31.0
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0


def test_too_many_creations_are_told_when_to_come_back(serve):
    gateway = serve(requests_per_minute=2)
    for _ in range(2):
        assert gateway.http.post("/v1/speech", json={"input": "Hi."}).status_code == 200
    answer = gateway.http.post("/v1/speech", json={"input": "Hi."})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert gateway.http.get("/v1/videos").status_code == 200


def test_a_key_may_have_so_many_videos_at_once(serve, triton):
    triton.pace = 0.5
    gateway = serve(api_keys=["k"], videos_per_key=2)
    gateway.http.headers["Authorization"] = "Bearer k"
    for expected in (202, 202, 429):
        answer = gateway.http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE})
        assert answer.status_code == expected
    assert answer.headers["retry-after"]


def test_bodies_are_cut_off(serve):
    gateway = serve(upload_bytes=1000, upload_seconds=0.5)
    announced = gateway.http.post("/v1/portraits", files={"image": FACE + bytes(2000)})
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "too_large")

    def chunks(count: int, pause: float):
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(count):
            yield bytes(100)
            time.sleep(pause)

    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert gateway.http.post("/v1/portraits", content=chunks(30, 0), headers=form).status_code == 413
    assert gateway.http.post("/v1/portraits", content=chunks(9, 0.2), headers=form).status_code == 408
    assert gateway.http.post("/v1/speech", content=chunks(30, 0)).status_code == 413
    assert gateway.http.post("/v1/speech", content=chunks(9, 0.2)).status_code == 408


def test_every_answer_carries_security_headers(common):
    for path in ("/", "/app.js", "/v1/voices", "/v1/videos/nonsense", "/nowhere"):
        headers = common.http.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    page = common.http.get("/").text
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_pages_of_other_sites_may_not_call_unless_they_are_named(serve):
    gateway, open_gateway = serve(), serve(allowed_origins=["https://friend.example"])
    body = {"input": "Hi."}
    stranger, friend = {"Origin": "https://stranger.example"}, {"Origin": "https://friend.example"}
    assert gateway.http.post("/v1/speech", json=body, headers=stranger).status_code == 403
    assert gateway.http.post("/v1/speech", json=body, headers={"Origin": gateway.url}).status_code == 200
    answer = open_gateway.http.post("/v1/speech", json=body, headers=friend)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, friend["Origin"])
    refused = open_gateway.http.post("/v1/speech", json=body, headers=stranger)
    assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


def test_addresses_from_callers_are_not_opened(common):
    fields = {"prompt": "Hi.", "input_reference[image_url]": "http://127.0.0.1:1/x.png"}
    answer = common.http.post("/v1/videos", data=fields)
    assert answer.status_code == 400  # no portrait was given
    answer = common.http.post("/v1/videos", data={"idle": "1", "driving": "/etc/passwd"}, files={"portrait": FACE})
    assert answer.status_code == 422  # a file is expected there
    for path in ("/v1/videos/..%2f..%2fetc/content", "/v1/portraits/../../x/poster", "/%2e%2e/settings.py"):
        assert common.http.get(path).status_code in (404, 422)


@pytest.mark.parametrize("name", ["", "../x", "portrait_" + "g" * 32])
def test_names_in_bodies_are_no_paths(common, name):
    body = {"portrait_id": name, "messages": [{"role": "user", "content": "Hi."}]}
    assert common.http.post("/v1/chat", json=body).status_code == 404
    assert common.http.post("/v1/videos", data={"prompt": "Hi.", "portrait_id": name}).status_code == 404


def test_fifty_clients_at_once_get_a_video_or_are_told_to_come_back(serve, triton):
    triton.pace = 0.02
    gateway = serve(videos_at_once=4, videos_waiting=8)

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=httpx.Limits()) as client:
            call = [
                client.post("/v1/videos?stream=true", data={"idle": "1"}, files={"portrait": FACE}) for _ in "x" * 50
            ]
            return await asyncio.gather(*call)

    answers = asyncio.run(all_at_once())
    good = [answer for answer in answers if answer.status_code == 200]
    busy = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in busy} <= {429, 503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in busy)
    assert len(good) >= 12
    assert len({answer.content for answer in good}) == 1
    assert triton.most_at_once <= 4
    assert triton.finished == len(good)


def test_a_full_server_is_told_at_once_to_those_who_wait(serve, triton):
    triton.answer = lambda request: [error("Exceeds maximum queue size")]
    answer = serve().http.post("/v1/videos?stream=true", data={"idle": "1"}, files={"portrait": FACE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_busy")
    assert answer.headers["retry-after"]


def test_a_full_server_is_waited_for_by_a_job(serve, triton):
    answers = iter([[error("Exceeds maximum queue size")]])
    triton.answer = lambda request: next(answers, None) or triton.animate(request)
    gateway = serve()
    video = gateway.http.post("/v1/videos", data={"prompt": "Hi."}, files={"portrait": FACE}).json()
    assert gateway.finished(video)["status"] == "completed"


def test_readiness_and_metrics(gateway, triton):
    assert gateway.http.get("/readyz").status_code == 200
    gateway.finished(gateway.http.post("/v1/videos", data={"prompt": "Hi."}, files={"portrait": FACE}).json())
    page = gateway.http.get("/metrics").text
    for line in (
        'sadtalker_gateway_videos_total{outcome="completed"} 1.0',
        "sadtalker_gateway_videos_in_progress 0.0",
        "sadtalker_gateway_videos_waiting 0.0",
        "sadtalker_gateway_first_fragment_seconds_count 1.0",
        "sadtalker_gateway_speech_seconds_count 1.0",
        'sadtalker_gateway_requests_total{method="POST",route="/v1/videos",status="202"} 1.0',
    ):
        assert line in page, page
    triton.ready = False
    answer = gateway.http.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_unavailable")
    assert gateway.http.get("/healthz").json() == {"status": "ok"}
