"""The variant `native` in the real server: no request shares a batch, so that a video's bytes are its own under load.

The embedded server's stand-in runs it here, in place of Triton's native ONNX Runtime backend.
"""

import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sadtalker_client import SadTalkerClient
from sadtalker_runtime.configurations.variants import NETWORKS
from sadtalker_server import Server


def counts(server: Server, name: str) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics_url) as page:
        text = page.read().decode()
    return {
        model: float(value) for model, value in re.findall(rf'^{name}{{model="(\w+)".*}} (\S+)$', text, re.MULTILINE)
    }


def test_videos_made_at_once_have_the_bytes_of_one_made_alone(
    tiny_repository: Path, portrait_path: Path, speech_path: Path, tmp_path: Path
) -> None:
    with Server(
        tiny_repository, tritonserver="embedded", model_config_name="native", log_file=tmp_path / "log"
    ) as server:

        def video(_: int = 0) -> bytes:
            with SadTalkerClient(server.grpc_url, timeout=240) as client:
                return b"".join(fragment.data for fragment in client.animate(portrait_path, speech_path, seed=5))

        alone = video()
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(video, range(4))) == {alone}
        requests = counts(server, "nv_inference_request_success")
        executions = counts(server, "nv_inference_exec_count")
    used = {model for model in NETWORKS if requests.get(model)}
    assert {"face_renderer", "motion", "audio2exp", "audio2pose"} <= used
    assert {model: executions[model] for model in used} == {model: requests[model] for model in used}
