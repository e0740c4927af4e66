"""Losses, the regions that training renders, and a loop that goes on where it stopped."""

import dataclasses
import queue
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sadtalker_export.checkpoint import loading
from sadtalker_export.networks.convolution import inclusive_grid
from sadtalker_export.networks.keypoint_detector import expectation
from sadtalker_export.networks.picture_transfer import carried, carry, transfer
from sadtalker_export.presets import PRESETS
from sadtalker_training.cli import train
from sadtalker_training.demo_weights import resume, write_demo_weights
from sadtalker_training.faces import episodes
from sadtalker_training.faces.episodes import DRIVEN, episode, episode_buffer
from sadtalker_training.initialisation import fresh_networks, iterate_spectral_norm
from sadtalker_training.loop import Trainer
from sadtalker_training.memory import keep_freed_memory
from sadtalker_training.tasks import losses, regions
from sadtalker_training.tasks.motion import MotionTask
from sadtalker_training.tasks.pose import pose_motion
from sadtalker_training.tasks.renderer import RendererBatch, RendererTask, psnr
from sadtalker_training.tasks.task import TrainingContext

DEMO = PRESETS["demo"]
CPU = TrainingContext(torch.device("cpu"), workers=1, seed=0, small=True)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def test_losses_are_zero_for_the_truth_and_grow_with_the_error() -> None:
    truth, weight = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    noise = 0.1 * torch.rand_like(truth)
    assert losses.picture_loss(truth, truth, weight) == 0
    assert losses.picture_loss(truth + noise, truth, weight) < losses.picture_loss(truth + 2 * noise, truth, weight)
    flow = torch.rand(2, 64, 64, 2)
    exact = torch.cat([flow, torch.rand(2, 64, 64, 1)], 3).unsqueeze(1).expand(-1, 16, -1, -1, -1)
    assert losses.flow_loss(exact, flow, weight[:, 0]) == 0
    assert losses.flow_loss(exact + 0.1, flow, weight[:, 0]) == pytest.approx(0.2, rel=1e-3)
    assert losses.flow_loss(exact + 0.1, flow, torch.zeros(2, 64, 64)) == 0


def test_a_hidden_cell_raises_the_loss_until_it_is_called_hidden() -> None:
    visible, weight = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    low, high = (losses.visibility_loss(torch.full((1, 1, 4, 4), v), visible, weight) for v in (-5.0, 5.0))
    assert low < 0.01 < 4 < high


def test_heat_maps_on_the_keypoints_are_best() -> None:
    keypoints = torch.rand(2, 15, 3) - 0.5
    places = inclusive_grid((16, 64, 64), keypoints)
    heat = -((places - keypoints[:, :, None, None, None]) ** 2).sum(-1) * 12.5  # at temperature 0.1: variance 0.004
    shifted = heat.roll(8, 4)
    good, bad = (losses.keypoint_loss(h, expectation(h), keypoints) for h in (heat, shifted))
    assert good < bad
    torch.testing.assert_close(expectation(heat), keypoints, atol=0.02, rtol=0)


def test_importance_is_highest_on_the_mouth() -> None:
    weight = losses.importance(torch.from_numpy(episode(1).keypoints).unsqueeze(0), 64)
    row, column = divmod(int(weight.argmax()), 64)
    mouth = (episode(1).keypoints[7:9, :2].mean(0) + 1) * 31.5
    assert np.hypot(column - mouth[0], row - mouth[1]) < 4
    assert 0.5 < weight.mean() < 2


def test_the_volume_carries_the_picture() -> None:
    picture, volume = torch.rand(2, 3, 256, 256), torch.rand(2, 32, 16, 64, 64)
    carrying = carry(volume, picture)
    assert torch.equal(carried(carrying), picture)
    assert torch.equal(carrying[:, :29], volume[:, :29])


def test_a_visible_picture_is_copied_and_a_hidden_one_decoded() -> None:
    picture, volume, decoded = torch.rand(1, 3, 256, 256), torch.rand(1, 32, 16, 64, 64), torch.rand(1, 3, 256, 256)
    volume = carry(volume, picture)
    still = inclusive_grid((16, 64, 64), volume).unsqueeze(0)
    seen, hidden = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    torch.testing.assert_close(transfer(decoded, carried(volume), still, seen), picture, atol=1e-4, rtol=0)
    assert torch.equal(transfer(decoded, carried(volume), still, hidden), decoded)
    shift = torch.tensor([2 * 3 / 63, -2 * 2 / 63, 0])  # three cells to the right, two up
    moved = transfer(decoded, carried(volume), still + shift, seen)
    torch.testing.assert_close(moved[..., 12:244, 4:232], picture[..., 4:236, 16:244], atol=1e-3, rtol=0)


def test_a_window_of_everything_is_the_renderer_itself() -> None:
    networks = fresh_networks(DEMO, {"appearance_encoder", "face_renderer"}, 1)
    renderer, encoder = networks["face_renderer"].eval(), networks["appearance_encoder"].eval()
    torch.nn.init.normal_(renderer.dense_motion.mask.weight)
    with torch.no_grad():
        volume = encoder(torch.rand(1, 3, 256, 256))
        torch.testing.assert_close(
            regions.encode(encoder, carried(volume), residual=False), volume, atol=1e-5, rtol=1e-4
        )  # at first the residual block is the identity
        source = torch.rand(2, 15, 3) - 0.5
        driving = source + 0.1 * torch.randn_like(source)
        whole = renderer(volume.expand(2, -1, -1, -1, -1), source, driving)
        everything = regions.Regions.around(driving, 64)
        rendered = regions.render(renderer, volume, source, driving, everything)
    torch.testing.assert_close(rendered.frames, whole, atol=1e-4, rtol=0)


def test_windows_are_cut_out_of_the_same_frames() -> None:
    renderer = fresh_networks(DEMO, {"face_renderer"}, 1)["face_renderer"].eval()
    renderer.decoder.requires_grad_(False)
    volume = carry(torch.rand(1, 32, 16, 64, 64), torch.rand(1, 3, 256, 256))
    source = torch.rand(2, 15, 3) - 0.5
    with torch.no_grad():
        whole = regions.render(renderer, volume, source, source + 0.05, regions.Regions.around(source, 64))
        some = regions.Regions(torch.tensor([8, 20]), torch.tensor([30, 4]), 32)
        part = regions.render(renderer, volume, source, source + 0.05, some)
    inner = (slice(None),) * 2 + (slice(12, -12),) * 2
    difference = (part.motion.flow - some.cut(whole.motion.flow.movedim(-1, 1)).movedim(1, -1))[inner]
    assert difference.abs().max() < 0.01


def test_power_iterations_find_the_spectral_norm() -> None:
    conv = fresh_networks(DEMO, {"face_renderer"}, 1)["face_renderer"].decoder.middle[0].conv0
    torch.nn.init.normal_(conv.weight_orig)
    for _ in range(200):
        iterate_spectral_norm(conv)
    assert torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2).item() == pytest.approx(1, rel=1e-3)


def test_the_renderer_learns_an_episode() -> None:
    task = RendererTask(DEMO, CPU)
    batch = RendererBatch.collate([episode(1)], torch.device("cpu"))
    optimiser = torch.optim.Adam([p for n in task.networks.values() for p in n.parameters()], 2e-3)
    totals = []
    for _ in range(3):
        terms, samples = task.losses(batch, 0.5)
        assert samples == DRIVEN
        totals.append((terms["decoded"] + terms["keypoints"]).item())
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(
    ("progress", "terms"),
    [
        (0.1, {"keypoints"}),
        (0.3, {"keypoints", "flow", "visible"}),
        (0.5, {"keypoints", "flow", "visible", "frame", "decoded"}),
        (0.7, {"flow", "visible", "frame", "decoded"}),
    ],
)
def test_a_processor_learns_the_motion_before_the_picture(progress: float, terms: set[str]) -> None:
    losses, samples = RendererTask(DEMO, CPU).losses(RendererBatch.collate([episode(1)], torch.device("cpu")), progress)
    assert set(losses) == terms
    assert samples == (DRIVEN if len(terms) > 1 else 2)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_last_stage_trains_the_face_renderer_alone() -> None:
    task = RendererTask(DEMO, CPU)
    statistics = task.networks["face_renderer"].dense_motion.norm.running_mean.clone()
    terms, _ = task.losses(RendererBatch.collate([episode(1)], torch.device("cpu")), 0.7)
    sum(terms.values()).backward()
    trained = {
        f"{name}.{key.split('.')[0]}"
        for name, network in task.networks.items()
        for key, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert trained == {f"face_renderer.{part}" for part in ("dense_motion", "flatten", "project", "decoder")}
    assert torch.equal(task.networks["face_renderer"].dense_motion.norm.running_mean, statistics)


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    def trainer(budget: int) -> Trainer:
        task = MotionTask(DEMO, CPU)
        task.budget = budget
        return Trainer(task, tmp_path / "motion.pt")

    first = trainer(1280)
    first.train(time.monotonic() + 60, lambda _: None)
    assert (first.progress.samples, first.done) == (1280, True)
    second = trainer(2560)
    assert second.progress == dataclasses.replace(first.progress, rate=0)
    weights = [n.task.networks["motion"].mapping.stem.weight for n in (first, second)]
    assert torch.equal(*weights)
    momenta = [t.optimiser.state_dict()["state"][0]["exp_avg"] for t in (first, second)]
    assert torch.equal(*momenta)
    second.train(time.monotonic() + 60, lambda _: None)
    assert second.progress.samples == 2560
    assert second.progress.losses["expression"] < first.progress.losses["expression"]
    third = trainer(10**6)
    third.train(time.monotonic(), lambda _: None)  # the deadline has passed
    assert third.progress.samples == 2560


def test_workers_fill_a_buffer() -> None:
    with episode_buffer(1, 2, 40) as buffer:
        drawn = [buffer.draw(1)[0] for _ in range(3)]
        while buffer.received < 3:
            buffer.draw(1)
    assert len(buffer.episodes) == 2
    made = [episode(seed).keypoints for seed in range(40, 40 + buffer.received)]
    assert all(any(np.array_equal(one.keypoints, keypoints) for keypoints in made) for one in drawn)


def test_a_buffer_waits_for_slow_workers_but_not_for_dead_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "PATIENCE", 0.01)
    made: queue.Queue[episodes.Episode] = queue.Queue()
    fresh = [episode(seed) for seed in (1, 2)]
    looks = []

    def working() -> bool:
        looks.append(True)
        if len(looks) in (3, 5):
            made.put(fresh[len(looks) // 4])
        return len(looks) < 8

    buffer = episodes.EpisodeBuffer(made, 4, 1, working)  # type: ignore[arg-type]
    assert any(buffer.draw(1)[0] is one for one in fresh)
    assert len(looks) >= 5
    with pytest.raises(RuntimeError, match="no process is left"):
        buffer.draw(2)


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 8, 8), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20, abs=1e-3)
    where = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    where[..., :4] = True
    half = truth.clone()
    half[..., :4] += 0.01
    assert psnr(half, truth, where) == pytest.approx(40, abs=1e-3)


def test_head_motion_begins_and_ends_at_rest() -> None:
    mel, latent = torch.rand(4, 32, 80, 16) * 8 - 4, torch.randn(4, 64)
    motion = pose_motion(mel, latent, torch.tensor([[0], [1], [2], [45]]))
    assert motion.shape == (4, 32, 6)
    assert motion[:, [0, -1]].abs().max() < 0.25 * motion.abs().max()
    assert motion[..., :3].abs().amax((1, 2)).min() > 0.02


def test_written_weights_are_official_files_that_training_goes_on_from(tmp_path: Path) -> None:
    task = MotionTask(DEMO, CPU)
    task.budget = 64
    Trainer(task, tmp_path / "state" / "motion.pt").train(time.monotonic() + 60, lambda _: None)
    write_demo_weights(tmp_path / "state", tmp_path / "weights")
    assert sum(path.stat().st_size for path in (tmp_path / "weights").iterdir()) < 8 * 10**6
    preset, networks = loading.load_directory(tmp_path / "weights")
    assert preset == DEMO
    averages = torch.load(tmp_path / "state" / "motion.pt", weights_only=True)["averages"]["motion"]
    torch.testing.assert_close(networks["motion"].state_dict(), averages, atol=1e-3, rtol=1e-3)

    window = torch.randn(2, 70, 27)
    cropped = torch.cat([window, torch.randn(2, 3, 27)], 1)
    torch.testing.assert_close(
        networks["motion_full"].mapping(cropped).expression, networks["motion"].mapping(window).expression
    )

    resume(tmp_path / "weights", tmp_path / "later")
    later = Trainer(MotionTask(DEMO, CPU), tmp_path / "later" / "motion.pt")
    assert later.progress.samples == 64
    assert torch.equal(later.averages["motion"].mapping.stem.weight, networks["motion"].mapping.stem.weight)
    assert not (tmp_path / "later" / "renderer.pt").exists()  # it has no history


def test_a_snapshot_writes_the_weights_of_a_state_and_leaves_it_alone(tmp_path: Path) -> None:
    task = MotionTask(DEMO, CPU)
    task.budget = 64
    state = tmp_path / "state" / "motion.pt"
    Trainer(task, state).train(time.monotonic() + 60, lambda _: None)
    before = state.read_bytes()
    assert train(["--snapshot", "--state", str(state.parent), "--weights", str(tmp_path / "weights")]) == 0
    assert state.read_bytes() == before
    _, networks = loading.load_directory(tmp_path / "weights")
    averages = torch.load(state, weights_only=True)["averages"]["motion"]
    torch.testing.assert_close(networks["motion"].state_dict(), averages, atol=1e-3, rtol=1e-3)
    _, demo = loading.load_directory(loading.DEMO)
    assert torch.equal(networks["face_renderer"].flatten.conv.weight, demo["face_renderer"].flatten.conv.weight)


@pytest.mark.parametrize("device", ["tpu", "cuda:99" if not torch.cuda.is_available() else "gpu"])
def test_a_device_that_is_not_there_is_named(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["--minutes", "1", "--device", device]) == 2
    assert f"got {device}" in capsys.readouterr().err
