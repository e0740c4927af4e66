"""The committed scenarios: models, kinds and levels of load, numbers of requests.

Three kinds, each with a question of its own:
- smoke: a few requests, one after the other. Does it work, and what does one request take alone?
- sweep: closed loop, so many clients that each wait for their answer. What is the most it can do, and how do requests
  of different clients share executions?
- poisson: open loop, requests at random instants like those of strangers. What is the highest rate that keeps the
  latency within a limit? Only for what a service is asked for.
"""

from dataclasses import dataclass

SMOKE_REQUESTS = 3
SWEEP_SECONDS = 1.5  # fast models get more requests than their least number, to fill so many seconds
POISSON_SECONDS = 4.0
LATENCY_LIMIT = 3.0  # of the 90th percentile under Poisson load, in units of the median of one request alone
POISSON_PROBES = 3  # halvings of the range of rates
POISSON_RANGE = (0.25, 1.05)  # of the highest throughput of the sweep
FRAMES_PER_CHUNK = 5


@dataclass(frozen=True)
class Scenario:
    """A model under load.

    `item` is what one request asks for. `requests` is the least number of them for each level of load, `concurrency`
    the levels of the sweep, smallest first. `frames`: video frames that one request yields; None: as many as the
    speech is long; 0: none.
    """

    model: str
    item: str
    requests: int
    concurrency: tuple[int, ...]
    frames: int | None = 0
    streaming: bool = False
    poisson: bool = False


SCENARIOS = {
    scenario.model: scenario
    for scenario in (
        Scenario("face_reconstruction", "portrait", 16, (1, 4, 8)),
        Scenario("appearance_encoder", "portrait", 8, (1, 4, 8)),
        Scenario("audio2exp", "video frame", 64, (1, 4, 16)),
        Scenario("audio2pose", "32 video frames", 32, (1, 4, 8)),
        Scenario("motion", "chunk of 5 video frames", 64, (1, 4, 8)),
        Scenario("motion_full", "chunk of 5 video frames", 64, (1, 4, 8)),
        Scenario("face_renderer", "chunk of 5 video frames", 8, (1, 4), frames=FRAMES_PER_CHUNK),
        Scenario("face_enhancer", "chunk of 5 video frames", 4, (1, 4), frames=FRAMES_PER_CHUNK),
        Scenario("face_enhancer_restoreformer", "chunk of 5 video frames", 4, (1, 4), frames=FRAMES_PER_CHUNK),
        Scenario("background_enhancer", "tile of a picture", 4, (1, 4)),
        Scenario("face_detector", "picture", 8, (1, 4)),
        Scenario("face_alignment", "face", 8, (1, 4)),
        Scenario("render_frames", "chunk of 5 video frames", 8, (1, 2, 4), frames=FRAMES_PER_CHUNK, poisson=True),
        Scenario("sadtalker", "video", 6, (1, 2, 4), frames=None, streaming=True, poisson=True),
    )
}
KINDS = ("smoke", "sweep", "poisson")
