"""Portraits: found faces, posters, idle loops and the loop as a picture."""

import io

import av
from served import until
from talking_triton import FACE, NO_FACE, POSTER, inputs_of, talking_video


def test_a_portrait_is_known_by_its_content(gateway, triton):
    answer = gateway.http.post("/v1/portraits", files={"image": FACE})
    assert answer.status_code == 201
    portrait = answer.json()
    assert gateway.portrait() == portrait["id"]
    assert gateway.portrait(FACE + b"!") != portrait["id"]
    assert gateway.http.get(f"/v1/portraits/{portrait['id']}").json()["id"] == portrait["id"]
    assert gateway.http.get(portrait["poster_url"]).content == POSTER
    assert gateway.http.get(portrait["idle_url"]).content == talking_video(25)


def test_the_idle_loop_is_an_animated_picture_too(common):
    url = f"/v1/portraits/{common.portrait()}/picture"
    until(lambda: common.http.get(url).status_code == 200)
    picture = common.http.get(url)
    assert picture.headers["content-type"] == "image/webp"
    assert picture.content[8:16] == b"WEBPVP8X"
    assert picture.content.count(b"ANMF") == 13  # every second of 25 frames


def test_a_picture_without_a_face_is_refused_in_the_server_s_own_words(common):
    answer = common.http.post("/v1/portraits", files={"image": NO_FACE})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "portrait: expected a picture with a face, got one without",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_input",
    }


def test_options_of_a_portrait_hold_for_its_videos(serve, triton):
    gateway = serve()
    portrait = gateway.http.post("/v1/portraits", files={"image": FACE}, data={"crop": "full"}).json()
    assert portrait["options"] == {"crop": "full"}
    assert portrait["id"] != gateway.portrait()
    triton.requests.clear()
    video = gateway.http.post("/v1/videos", data={"portrait_id": portrait["id"], "prompt": "Hi."}).json()
    gateway.finished(video)
    said = [inputs_of(request) for request in triton.requests if "audio" in inputs_of(request)]
    assert [inputs["crop"] for inputs in said] == [b"full"]


def test_a_deleted_portrait_is_gone_and_may_come_back(gateway):
    portrait = gateway.portrait()
    idle = f"/v1/portraits/{portrait}/idle"
    until(lambda: gateway.http.get(f"/v1/portraits/{portrait}/picture").status_code == 200)
    assert gateway.http.delete(f"/v1/portraits/{portrait}").status_code == 204
    assert gateway.http.get(idle).status_code == 404
    assert gateway.http.delete(f"/v1/portraits/{portrait}").status_code == 404
    assert gateway.http.post("/v1/videos", data={"portrait_id": portrait, "prompt": "Hi."}).status_code == 404
    assert gateway.portrait() == portrait
    with av.open(io.BytesIO(gateway.http.get(idle).content)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 25
