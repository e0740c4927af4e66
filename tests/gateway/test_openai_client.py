"""OpenAI's own client library against the gateway."""

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from served import until
from talking_triton import EDGE, FACE, talking_video

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def client(gateway):
    """Return OpenAI's client, told where the gateway is."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_create_retrieve_download_delete(client, gateway):
    video = client.videos.create(prompt="Hello there.", input_reference=("face.png", FACE), model="sadtalker")
    assert (video.object, video.model, video.prompt) == ("video", "sadtalker", "Hello there.")
    assert video.status in ("queued", "in_progress", "completed")
    until(lambda: client.videos.retrieve(video.id).status in ("completed", "failed"))
    assert client.videos.retrieve(video.id).error is None
    video = client.videos.retrieve(video.id)
    assert (video.progress, video.size, video.error) == (100, f"{EDGE}x{EDGE}", None)
    assert video.completed_at >= video.created_at
    content = client.videos.download_content(video.id).read()
    assert content == talking_video(round(float(video.seconds) * 25))
    assert [listed.id for listed in client.videos.list()] == [video.id]
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    with pytest.raises(NotFoundError):
        client.videos.retrieve(video.id)


def test_what_openai_does_not_have_goes_into_the_extra_body(client, gateway):
    extra = {"portrait_id": gateway.portrait(), "quality": "low", "voice": "en-gb", "pose_style": 3}
    video = client.videos.create(prompt="Hi.", extra_body=extra)
    until(lambda: client.videos.retrieve(video.id).status in ("completed", "failed"))
    assert client.videos.retrieve(video.id).error is None


def test_create_and_poll_and_errors(client):
    video = client.videos.create_and_poll(prompt="Hi.", input_reference=FACE, poll_interval_ms=50)
    assert video.status == "completed"
    with pytest.raises(BadRequestError) as caught:
        client.videos.create(prompt="Hi.")
    assert "portrait: expected a file or portrait_id, got neither" in str(caught.value)
    with pytest.raises(BadRequestError, match="expected an edge in pixels"):
        client.videos.create(prompt="Hi.", input_reference=FACE, size="720x1280")
    with pytest.raises(BadRequestError, match="as long as what is said"):
        client.videos.create(prompt="Hi.", input_reference=FACE, seconds="8")
