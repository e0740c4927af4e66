"""All forms of all layers compute the same; the portable choice is a fixed one."""

import hashlib

import pytest
import torch
from sadtalker_export.checkpoint import synthetic
from sadtalker_export.networks.appearance_encoder import AppearanceEncoderSize
from sadtalker_export.networks.dense_motion import DenseMotionSize
from sadtalker_export.networks.face_renderer import FaceRenderer, FaceRendererSize
from sadtalker_export.networks.spade_decoder import SpadeDecoderSize
from sadtalker_export.presets import PRESETS
from sadtalker_export.rewrites.for_cpu import for_cpu
from sadtalker_export.rewrites.forms import FORMS
from sadtalker_export.rewrites.parts import PartChoice, parts
from sadtalker_export.rewrites.renderer import FastRenderer, FrameBytes
from sadtalker_export.specs import FRAMES
from torch import nn

EXACT = 1e-9
SIZE = FaceRendererSize(
    AppearanceEncoderSize(channels=3, depth=8),
    DenseMotionSize(keypoints=2, channels=3, depth=8, compressed=1, width=3, max_width=5, blocks=2, mask_kernel=3),
    SpadeDecoderSize(features=6, middle=8, middle_blocks=1, up=(6, 4), hidden=(5, 4, 3)),
)
# SHA-256 over paths, types and shapes of weights of the modules that are exported: what shipped files are made of
PORTABLE = {
    ("official", "fp32"): "086910691a033fe5",
    ("official", "bf16"): "e408e70dbef5a70a",
    ("demo", "fp32"): "d933436551c0693d",
    ("demo", "bf16"): "7f3e8084e5d96c17",
    ("tiny", "fp32"): "3c0e646686cea454",
    ("tiny", "bf16"): "dbdac6e9cb6c0cc8",
}


@pytest.fixture(scope="module")
def renderer() -> FastRenderer:
    """Return a renderer of tiny sizes with made-up weights in float64."""
    plain = FaceRenderer(SIZE)
    plain.load_state_dict(
        {k: torch.from_numpy(synthetic.tensor(k, tuple(v.shape))) for k, v in plain.state_dict().items()}
    )
    return FastRenderer(plain.double().eval())


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, ...]:
    shapes = {"volume": (1, 3, 8, 8, 8), "source": (1, 2, 3), "driving": (1, 2, 2, 3)}
    return tuple(0.3 * torch.from_numpy(synthetic.named_input(k, s)).double() for k, s in shapes.items())


def every_choice(renderer: FastRenderer) -> list[tuple[str, str, dict[str, str]]]:
    """Return choices that have every form of every layer in at least one of them: part, order, forms."""
    found = []
    for part in parts(renderer):
        for order, layers in part.orders.items():
            for i in range(max(len(FORMS[layer.kind][order]) for layer in layers)):
                forms = {
                    layer.name: list(FORMS[layer.kind][order])[i % len(FORMS[layer.kind][order])] for layer in layers
                }
                found.append((part.name, order, forms))
    return found


def test_every_form_of_every_layer_gives_the_same_frames(renderer, inputs) -> None:
    with torch.no_grad():
        expected = renderer(*inputs)
        choices = every_choice(renderer)
        assert len(choices) == (2 + 1 + 2) + 5 + 2 + 2 + (3 + 1)  # hourglass, mask, occlusion, sampling, decoder
        for name, order, forms in choices:
            for precision in ("fp32", "bf16"):
                rewritten = for_cpu(renderer, 2, precision, {name: PartChoice(order, forms)})
                error = (rewritten(*inputs) - expected).abs().max()
                assert error < EXACT, f"{name}, {order}, {forms}: {error}"


def test_the_choices_tried_have_every_form_there_is(renderer) -> None:
    tried = {
        (layer.kind, order, forms[layer.name])
        for name, order, forms in every_choice(renderer)
        for part in parts(renderer)
        if part.name == name
        for layer in part.orders[order]
    }
    every = {(kind, order, form) for kind, orders in FORMS.items() for order, forms in orders.items() for form in forms}
    assert tried == every


def test_other_forms_leave_the_original_as_it_was(renderer) -> None:
    before = fingerprint(renderer)
    name, order, forms = every_choice(renderer)[-1]
    assert fingerprint(for_cpu(renderer, 2, "bf16", {name: PartChoice(order, forms)})) != before
    assert fingerprint(renderer) == before


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (PartChoice("upside down"), "hourglass: no order 'upside down', expected natural or sorted or flat"),
        (PartChoice("natural", {"left": "plain"}), "hourglass: no layer 'left' in natural order"),
        (PartChoice("natural", {"merge": "sorted"}), "hourglass: merge has no form 'sorted' in natural order"),
        (PartChoice("flat", {"merge": "inputs"}), "hourglass: no form for 'down.0', and a plain one has no flat order"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(renderer, choice: PartChoice, message: str) -> None:
    with pytest.raises(ValueError) as error:
        for_cpu(renderer, 2, "fp32", {"hourglass": choice})
    assert str(error.value) == message


@pytest.mark.parametrize(("preset", "precision"), PORTABLE)
def test_portable_forms_do_not_change(preset: str, precision: str) -> None:
    with torch.no_grad():
        module = FrameBytes(FaceRenderer(PRESETS[preset].face_renderer).to("meta")).eval()
        assert fingerprint(for_cpu(module, FRAMES, precision)) == PORTABLE[preset, precision]


def fingerprint(module: nn.Module) -> str:
    lines = [
        f"{name}:{type(part).__name__}:{[(key, tuple(p.shape)) for key, p in part.named_parameters(recurse=False)]}"
        for name, part in module.named_modules()
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
