"""The variant `native` in the real server: no request shares a batch, so that a video's bytes are its own under load.

The embedded server's stand-in runs it here, in place of Triton's native ONNX Runtime backend.
"""

import re
import urllib.request
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sadtalker_client import SadTalkerClient
from sadtalker_runtime.configurations.variants import NETWORKS
from sadtalker_server import Server


def counts(server: Server, name: str) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics_url) as page:
        text = page.read().decode()
    return {
        model: float(value) for model, value in re.findall(rf'^{name}{{model="(\w+)".*}} (\S+)$', text, re.MULTILINE)
    }


@pytest.mark.timeout(600)  # ONNX Runtime's own kernels take a second per frame where cores are shared
def test_videos_made_at_once_have_the_bytes_of_one_made_alone(
    tiny_repository: Path, portrait_path: Path, speech_path: Path, tmp_path: Path
) -> None:
    short = tmp_path / "speech.wav"  # 12 frames: three chunks
    with wave.open(str(speech_path)) as whole, wave.open(str(short), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(8000))
    with Server(
        tiny_repository, tritonserver="embedded", model_config_name="native", log_file=tmp_path / "log"
    ) as server:

        def video(_: int = 0) -> bytes:
            with SadTalkerClient(server.grpc_url, timeout=500) as client:
                return b"".join(fragment.data for fragment in client.animate(portrait_path, short, seed=5))

        alone = video()
        with ThreadPoolExecutor(2) as pool:
            assert set(pool.map(video, range(2))) == {alone}
        requests = counts(server, "nv_inference_request_success")
        executions = counts(server, "nv_inference_exec_count")
    used = {model for model in NETWORKS if requests.get(model)}
    assert {"face_renderer", "motion", "audio2exp", "audio2pose"} <= used
    assert {model: executions[model] for model in used} == {model: requests[model] for model in used}
