"""Several photos of one person, measured with the demo's weights on procedural faces: `python benchmarks/photos.py`.

Every held-out person sits for four photos: neutral, smiling with teeth, eyes closed, and one at random. The second to
fourth are taken by other cameras before other backgrounds. Frames whose truth is painted, too, are made from the first
1, 2 and 4 photos in three ways: `joined`, as the server does (`sadtalker_runtime.animation.photos`); `features`, the
photos' warped volumes combined by the same shares and by their occlusion maps in front of the decoder; `best`, the one
photo whose keypoints are nearest. PSNR and structural similarity are those of the whole frame at yaw 0 to 30 degrees,
else around the mouth or the eyes. The cost is in renderings per frame and in seconds of joining. `persons` says whether
what the networks find in photos tells one person from another: of 20 people's three photos each, the share of pairs of
different people that are farther apart than every pair of one person's. Writes benchmarks/results/photos.json and
photos.png.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from hardware import describe
from sadtalker_export.checkpoint.loading import load_weights
from sadtalker_export.networks.convolution import inclusive_grid
from sadtalker_export.networks.face_reconstruction import GROUPS
from sadtalker_export.networks.picture_transfer import blend, carried, pixel_centres, planar_shift, warp
from sadtalker_runtime.animation.photos import GRID, joined, shares
from sadtalker_runtime.portrait.alignment import align
from sadtalker_training.coefficients import (
    BLINK,
    CORNERS,
    JAW,
    UPPER_LIP,
    WIDTH,
    Pose,
    frame_coefficients,
    random_blendshapes,
    random_pose,
)
from sadtalker_training.evaluation.measures import psnr
from sadtalker_training.evaluation.people import _eyes, _mouth
from sadtalker_training.faces.painting import background
from sadtalker_training.faces.person import SIZE, Person, Photo, View
from sadtalker_training.tasks.reconstruction import LANDMARKS
from sadtalker_training.tasks.renderer import move_keypoints

RESULTS = Path(__file__).resolve().parent / "results"
FIRST_SEED = 3 * 10**9 + 100  # beyond what was trained on, and what sadtalker-evaluate measures
WHOLE = slice(None), slice(None)
COUNTS = 1, 2, 4
PARTS = "frames", "persons"
METHODS = "joined", "features", "best"


@dataclass(frozen=True)
class Target:
    """A frame to be made, and the part of it that is measured."""

    kind: str
    view: View
    part: tuple[slice, slice]


def photos_of(person: Person, rng: np.random.Generator) -> list[View]:
    """Return four photos of a person, all but the first by other cameras in other places."""
    neutral, smile, closed = np.zeros((3, 7), np.float32)
    smile[[JAW, WIDTH, CORNERS, UPPER_LIP]] = 0.4, 0.3, 0.3, 0.5
    closed[[CORNERS, BLINK]] = 0.3, 1
    anything = random_blendshapes(rng, resting=True)
    sittings = ((neutral, Pose()), (smile, Pose(yaw=0.08)), (closed, Pose(pitch=0.05)))
    sittings += ((anything, random_pose(rng, resting=True)),)
    home = person.background, person.photo
    views = [person.view(*sittings[0])]
    for sitting in sittings[1:]:
        person.background = background(rng, SIZE)
        person.photo = replace(
            home[1],
            mix=(home[1].mix * rng.uniform(0.9, 1.1, (3, 1))).astype(np.float32),
            offset=home[1].offset + rng.uniform(-0.03, 0.03),
            gamma=home[1].gamma * rng.uniform(0.9, 1.1),
        )
        views.append(person.view(*sitting))
    person.background, person.photo = home
    return views


def targets_of(person: Person, rng: np.random.Generator) -> Iterator[Target]:
    """Yield the frames to be made of a person."""

    def expression(blink: float, jaw: float | None = None) -> np.ndarray:
        drawn = random_blendshapes(rng)
        drawn[BLINK] = blink
        drawn[JAW] = drawn[JAW] if jaw is None else jaw
        return drawn

    for degrees in (0, 10, 20, 30):
        yaw = float(np.radians(degrees) * rng.choice([-1, 1]))
        yield Target(f"yaw {degrees}", person.view(expression(0), Pose(yaw=yaw)), WHOLE)
    yield Target("mouth", person.view(expression(0, rng.uniform(0.3, 1)), Pose()), _mouth(person))
    yield Target("blink", person.view(expression(1), Pose()), _eyes(person))


class Renderings:
    """One frame, rendered from every photo on its own, and what it takes to combine features instead."""

    def __init__(self, networks: dict, volume: torch.Tensor, sources: torch.Tensor, driving: torch.Tensor) -> None:
        self.renderer, self.sources, self.driving = networks["face_renderer"], sources, driving
        flow, self.occlusion = self.renderer.dense_motion(volume, sources, driving.expand_as(sources))
        warped = F.grid_sample(volume, flow, align_corners=False).flatten(1, 2)
        self.features = self.renderer.project(self.renderer.flatten(warped))
        picture = carried(volume)
        shift = planar_shift(flow, inclusive_grid((1, *flow.shape[2:4]), flow))
        self.copied = warp(picture, shift, pixel_centres(picture))
        self.alone = [self.combined(F.one_hot(torch.tensor(i), len(volume)).float()) for i in range(len(volume))]

    def combined(self, weights: torch.Tensor) -> np.ndarray:
        """Return the frame uint8 [H, W, 3] of features combined by weights [N] or [N, GRID, GRID]."""
        weights = weights.reshape(len(weights), 1, *weights.shape[1:]).reshape(len(weights), 1, -1)
        weights = weights.expand(-1, -1, GRID * GRID).reshape(-1, 1, GRID, GRID)
        n = len(weights)
        occlusion = (weights * self.occlusion[:n]).sum(0, keepdim=True)
        decoded = self.renderer.decoder((weights * self.features[:n]).sum(0, keepdim=True) * occlusion)
        fine = F.interpolate(weights, scale_factor=4.0, mode="bilinear", align_corners=False)
        frame = blend(decoded, (fine * self.copied[:n]).sum(0, keepdim=True), occlusion)[0].clamp(0, 1)
        return (frame * 255).round().byte().permute(1, 2, 0).numpy()

    def of(self, count: int) -> dict[str, tuple[np.ndarray, float, float]]:
        """Return for every method the frame from the first photos, renderings it needs, and seconds of joining."""
        if count == 1:
            return dict.fromkeys(METHODS, (self.alone[0], 1, 0.0))
        sources, driving = self.sources[:count].numpy(), self.driving.numpy()
        start = time.perf_counter()
        parts = shares(sources, driving)
        needed = parts.needed
        frame = joined([self.alone[i][None] for i in needed], parts.only(needed))[0]
        seconds = time.perf_counter() - start
        weights = torch.from_numpy(parts.photos[0]) * (self.occlusion[:count, 0] + 0.02)
        nearest = int(np.square(sources - driving).sum(-1).mean(-1).argmin())
        return {
            "joined": (frame, len(needed), seconds),
            "features": (self.combined(weights / weights.sum(0)), count, 0.0),
            "best": (self.alone[nearest], 1, 0.0),
        }


def persons(networks: dict, people: int = 20) -> dict[str, float]:
    """Return the share of pairs of different people that are recognised, by what the networks find in their photos."""
    rng, found, who = np.random.default_rng(FIRST_SEED), defaultdict(list), []
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        person = Person(seed)
        for _ in range(3):
            person.background, person.photo = background(rng, SIZE), Photo.random(rng)
            picture = person.view(random_blendshapes(rng, resting=True), random_pose(rng, resting=True)).picture
            keypoints = networks["keypoint_detector"](pixels(picture))[0].numpy()
            coefficients = networks["face_reconstruction"](pixels(align(picture, LANDMARKS)[1]))[0].numpy()
            found["canonical_keypoints"].append((keypoints - keypoints.mean(0)).ravel())
            found["identity_coefficients"].append(coefficients[: GROUPS[0]])
            who.append(seed)
    same = np.equal.outer(who, who)
    shares_found = {}
    for name, values in found.items():
        distances = np.linalg.norm(np.array(values)[:, None] - np.array(values)[None], axis=-1)
        shares_found[name] = float((distances[~same] > distances[same].max()).mean())
    return shares_found


def pixels(picture: np.ndarray) -> torch.Tensor:
    """Return a picture uint8 [H, W, 3] as networks take it: float32 [1, 3, H, W], 0 to 1."""
    return torch.from_numpy(picture.copy()).movedim(-1, 0)[None].float() / 255


def similarity(frame: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the structural similarity (Wang et al. 2004) of two pictures' grey values, pixel by pixel: [H, W]."""
    a, b = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64) for picture in (frame, truth))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    return ((2 * mean(a) * mean(b) + c1) * (2 * covariance + c2)) / (
        (mean(a) ** 2 + mean(b) ** 2 + c1) * (variances + c2)
    )


def measure(networks: dict, people: int) -> tuple[dict, list]:
    """Return the figures, and the pictures of the first person: photos, then rows of truth and frames."""
    figures: dict = defaultdict(lambda: defaultdict(list))
    sheet: list = []
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        person, rng = Person(seed), np.random.default_rng(seed)
        photos = photos_of(person, rng)
        pictures = torch.from_numpy(np.stack([photo.picture for photo in photos])).movedim(-1, 1).float() / 255
        volume, canonical = networks["appearance_encoder"](pictures), networks["keypoint_detector"](pictures)
        own = np.stack([frame_coefficients(photo.blendshapes, photo.pose) for photo in photos])
        sources = move_keypoints(canonical, torch.from_numpy(own))
        if seed == FIRST_SEED:
            sheet.append(("photos", [photo.picture for photo in photos]))
        for target in targets_of(person, rng):
            driven = torch.from_numpy(frame_coefficients(target.view.blendshapes, target.view.pose))[None]
            rendered = Renderings(networks, volume, sources, move_keypoints(canonical[:1], driven))
            truth, row = target.view.picture, [target.view.picture]
            for count in COUNTS:
                for method, (frame, renderings, seconds) in rendered.of(count).items():
                    found = figures[f"{method} {count}"]
                    found[f"{target.kind} psnr"].append(psnr(frame[target.part], truth[target.part]))
                    found[f"{target.kind} ssim"].append(similarity(frame, truth)[target.part].mean())
                    found["renderings"].append(renderings)
                    found["joining_seconds"].append(seconds)
                    row += [frame] if method == "joined" else []
            if seed == FIRST_SEED:
                sheet.append((target.kind, row))
        sys.stdout.write(f"person {seed - FIRST_SEED + 1} of {people}\n")
    return {
        name: {key: float(np.mean(values)) for key, values in found.items()} for name, found in figures.items()
    }, sheet


def draw(sheet: list, path: Path) -> None:
    """Write the contact sheet: the photos above, then a row for every frame: the truth, from 1, 2 and 4 photos."""
    figure, axes = plt.subplots(len(sheet), 4, figsize=(8, 2.05 * len(sheet)))
    titles = {0: ("photo 1", "photo 2", "photo 3", "photo 4"), 1: ("truth", "1 photo", "2 photos", "4 photos")}
    for index, (name, pictures) in enumerate(sheet):
        for axis, picture in zip(axes[index], pictures, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
        axes[index][0].set_ylabel(name)
        for axis, title in zip(axes[index], titles.get(index, ()), strict=False):
            axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=12, help="held-out people (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    networks = {name: network.eval() for name, network in load_weights("demo")[1].items()}
    path = RESULTS / "photos.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    figures: dict = {}
    if "frames" in arguments.parts:
        figures, sheet = measure(networks, arguments.people)
        record |= {"hardware": describe(), "people": arguments.people, "figures": figures}
        draw(sheet, RESULTS / "photos.png")
    if "persons" in arguments.parts:
        record["recognised_as_different"] = persons(networks)
    path.write_text(json.dumps(record, indent=2) + "\n")
    for name, found in figures.items():
        sys.stdout.write(f"{name:12} " + " ".join(f"{key} {value:.3f}" for key, value in found.items()) + "\n")


if __name__ == "__main__":
    main()
