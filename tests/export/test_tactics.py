"""Measured forms: what is timed, what is chosen from the timings, and which files of them are refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from sadtalker_export.checkpoint import loading
from sadtalker_export.cli import main
from sadtalker_export.commands import onnx as command
from sadtalker_export.onnx.graph import sample
from sadtalker_export.presets import PRESETS
from sadtalker_export.rewrites.for_cpu import for_cpu, portable
from sadtalker_export.rewrites.forms import FLAT, NATURAL
from sadtalker_export.rewrites.parts import PartChoice
from sadtalker_export.specs import SPECS, with_frames
from sadtalker_export.tactics import choose as choosing
from sadtalker_export.tactics.cache import Cache, Circumstances, TacticsError, Timing, read, read_or_new
from sadtalker_export.tactics.choose import NOTICEABLE, check_complete, choose, measure
from sadtalker_export.tactics.layers import Met, met_layers
from sadtalker_export.tactics.measure import time_forms
from sadtalker_runtime.processor import Processor
from torch import nn

SPEC = SPECS["face_renderer"]
HERE = Circumstances("a processor", ("avx2",), 2, "an engine", "the forms")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def module() -> nn.Module:
    """Return the renderer of the tiny preset."""
    return SPEC.build(loading.synthetic_networks(PRESETS["tiny"], {"face_renderer"})).eval()


@pytest.fixture(scope="module")
def layers(module: nn.Module) -> list[Met]:
    return met_layers(SPEC, module)


def cache_of(layers: list[Met], precision: str = "fp32", slow: str = "", error: float = 0.0) -> Cache:
    """Return a cache in which every form takes 1 ms, those whose `<order> <form>` starts with `slow` 10."""
    cache = Cache(HERE)
    for met in layers:
        timings = cache.layers.setdefault(met.description, {}).setdefault(precision, {})
        for form in met.forms:
            name = f"{met.order} {form}"
            timings[name] = Timing(10.0 if slow and name.startswith(slow) else 1.0, error)
    return cache


def test_layers_are_known_by_what_they_are_and_meet(layers: list[Met]) -> None:
    descriptions = {met.description for met in layers}
    assert "mask 16x36x3x3x3 on 5x36x16x64x64" in descriptions
    assert "volume convolution 8x32x3x3x3 on 5x32x16x64x64" in descriptions
    assert "convolution 32x32x3x3 on 5x32x64x64" in descriptions


def test_the_order_whose_layers_take_least_together_is_chosen(module: nn.Module, layers: list[Met]) -> None:
    natural_slow = choose(cache_of(layers, slow=NATURAL), SPEC, module, "fp32")
    assert natural_slow["hourglass"].order in ("sorted", "flat")
    assert natural_slow["decoder"].order == "sorted"
    cache = cache_of(layers, slow="sorted")
    for met in layers:
        if met.part.name == "hourglass" and met.order == NATURAL:
            cache.layers[met.description]["fp32"]["natural plain"] = Timing(3.0, 0.0)
            cache.layers[met.description]["fp32"]["natural padded"] = Timing(3.0, 0.0)
            cache.layers[met.description]["fp32"]["flat outputs"] = Timing(2.0, 0.0)
            cache.layers[met.description]["fp32"]["flat inputs"] = Timing(0.5, 0.0)
    chosen = choose(cache, SPEC, module, "fp32")["hourglass"]
    assert chosen.order == FLAT
    assert set(chosen.forms.values()) == {"inputs"}


def test_a_form_that_errs_too_much_is_not_chosen(module: nn.Module, layers: list[Met]) -> None:
    cache = cache_of(layers, "bf16", slow="natural plain")
    for timings in cache.layers.values():
        timings["bf16"] = {
            name: timing if name == "natural plain" else replace(timing, error=0.02)
            for name, timing in timings["bf16"].items()
        }
    chosen = choose(cache, SPEC, module, "bf16")
    assert {name: (part.order, dict(part.forms)) for name, part in chosen.items()} == {
        name: (NATURAL, {}) for name in ("hourglass", "mask", "occlusion", "sampling", "decoder")
    }


def test_parts_that_were_not_measured_keep_their_portable_forms(module: nn.Module) -> None:
    assert choose(Cache(HERE), SPEC, module, "fp32") == portable(module, "fp32")


def test_of_a_part_measured_in_part_only_the_known_layers_change(module: nn.Module, layers: list[Met]) -> None:
    cache = cache_of(layers, slow="natural plain")
    for met in layers:
        if met.part.name == "hourglass" and met.layer.name != "merge":
            cache.layers.pop(met.description, None)
    hourglass = choose(cache, SPEC, module, "fp32")["hourglass"]
    assert (hourglass.order, dict(hourglass.forms)) == (NATURAL, {"merge": "padded"})


def test_what_is_not_noticeably_faster_is_not_chosen(module: nn.Module, layers: list[Met]) -> None:
    for plain, chosen in ((1.02, PartChoice()), (1.1, PartChoice(NATURAL, {"mask": "sorted"}))):
        cache = cache_of(layers)
        for met in layers:
            if met.part.name == "mask":
                timings = {f"natural {form}": Timing(2.0, 0.0) for form in met.forms}
                known = {"natural plain": Timing(plain, 0.0), "natural sorted": Timing(1.0, 0.0)}
                cache.layers[met.description]["fp32"] = timings | known
            elif met.part.name == "hourglass" and met.order != NATURAL:
                for form in met.forms:
                    cache.layers[met.description]["fp32"][f"{met.order} {form}"] = Timing(1.0 / plain, 0.0)
        found = choose(cache, SPEC, module, "fp32")
        assert found["mask"] == chosen
        assert (found["hourglass"].order == NATURAL) == (plain < NOTICEABLE)


def test_where_the_whole_was_slower_the_portable_forms_stay(module: nn.Module, layers: list[Met]) -> None:
    cache = cache_of(layers, slow="natural")
    assert choose(cache, SPEC, module, "fp32") != portable(module, "fp32")
    key = choosing._key(SPEC, module, "fp32", choose(cache, SPEC, module, "fp32"))
    cache.wholes[key] = {"chosen_ms": 2.0, "portable_ms": 1.0}
    assert choose(cache, SPEC, module, "fp32") == portable(module, "fp32")


def test_the_slowest_forms_give_the_same_frames(module: nn.Module, layers: list[Met]) -> None:
    """Frames may differ by a grey level where a value lies between two; of ten thousand values nine at most do."""
    slowest = choose(cache_of(layers, slow="natural"), SPEC, module, "fp32")
    assert {slowest[name].order for name in ("hourglass", "decoder")} == {"sorted"}
    spec = with_frames(SPEC, 1)
    inputs = [torch.from_numpy(sample(spec, tensor, 1)) for tensor in spec.inputs]
    difference = (for_cpu(module, 1, "fp32", slowest)(*inputs).int() - module(*inputs).int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 9e-4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_form_is_timed_in_the_engine_and_right(precision: str, layers: list[Met]) -> None:
    smallest = min((met for met in layers if met.part.name == "hourglass"), key=lambda met: met.arithmetic)
    same = {met.order: met for met in layers if met.description == smallest.description}
    first, *others = same.values()
    timings = time_forms(first, others, precision)
    assert timings.keys() == {"natural plain", "sorted sorted", "flat outputs", "flat inputs"}
    for name, timing in timings.items():
        assert 0 < timing.ms < 10_000, name
        assert timing.error < (1e-5 if precision == "fp32" else 0.1), name


def test_measuring_stops_when_the_time_is_over_and_goes_on_later(
    module: nn.Module, layers: list[Met], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []
    monkeypatch.setattr(choosing, "time_forms", lambda met, others, precision: timed.append(met.description) or {})
    cache = Cache(HERE)
    with Progress(disable=True) as bar:
        measure(cache, SPEC, module, ["fp32"], 0.0, bar)
        assert timed == []
        measure(cache, SPEC, module, ["fp32"], 60.0, bar)
        assert sorted(timed) == sorted({met.description for met in layers})
        measure(cache, SPEC, module, ["fp32"], 60.0, bar)
    assert len(timed) == len(cache.layers)


def test_a_file_reads_as_it_was_written(layers: list[Met], tmp_path: Path) -> None:
    cache = cache_of(layers, slow="flat", error=1e-6)
    cache.wholes["face_renderer"] = {"chosen_ms": 1.0, "portable_ms": 2.0}
    cache.write(tmp_path / "tactics.json")
    assert read(tmp_path / "tactics.json", HERE) == cache
    assert [path.name for path in tmp_path.iterdir()] == ["tactics.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"processor": "another"}, "is stale, it was measured with processor 'another' instead of 'a processor'"),
        ({"cores": 64}, "is stale, it was measured with cores 64 instead of 2"),
        ({"engine": "a newer one"}, "is stale, it was measured with engine 'a newer one' instead of 'an engine'"),
        ({"forms": "others"}, "is stale, it was measured with forms 'others' instead of 'the forms'"),
    ],
)
def test_a_stale_file_is_refused_and_measured_anew(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "tactics.json"
    Cache(replace(HERE, **change)).write(path)  # type: ignore[arg-type]
    with pytest.raises(TacticsError) as error:
        read(path, HERE)
    assert str(error.value) == f"{path} {message}"
    assert read_or_new(path, HERE) == Cache(HERE)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 7}', '{"format": 1, "measured_on": 3}'])
def test_what_is_no_such_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "tactics.json").write_text(content)
    with pytest.raises(TacticsError, match="expected a file of tactics"):
        read(tmp_path / "tactics.json", HERE)


def test_a_file_of_other_networks_is_refused(module: nn.Module, layers: list[Met]) -> None:
    cache = cache_of(layers)
    check_complete(cache, Path("file"), SPEC, module, "fp32")
    cache.layers.pop("mask 16x36x3x3x3 on 5x36x16x64x64")
    with pytest.raises(TacticsError, match=r"lacks 1 of \d+ layers of face_renderer in fp32, the first is 'mask 16x"):
        check_complete(cache, Path("file"), SPEC, module, "fp32")


@pytest.mark.parametrize(
    ("extensions", "synthetic", "gate", "expected"),
    [
        (("avx2",), False, True, "fp32"),
        (("avx512_bf16",), True, True, "fp32"),
        (("avx512_bf16",), False, False, "fp32"),
        (("amx_bf16",), False, True, "bf16"),
    ],
)
def test_precision_by_default(
    extensions: tuple[str, ...], synthetic: bool, gate: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "this_processor", lambda: Processor("", extensions, 2))
    monkeypatch.setattr(command, "is_synthetic", lambda _: synthetic)
    monkeypatch.setattr(command, "passes_bf16", lambda _: gate)
    with Progress(disable=True) as bar:
        precision, reason, gates = command.best_precision({}, 256, {}, bar)
        assert precision == expected and reason
        assert command.best_precision({}, 512, gates, bar)[0] == "fp32"
        monkeypatch.setattr(command, "passes_bf16", lambda _: pytest.fail("judged twice"))
        assert command.best_precision({}, 256, gates or {"bf16": gate}, bar)[0] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tactics", "measured", "--precision", "fp16"], "--tactics measured goes with the precisions of processors"),
        (["--tactics-seconds", "-1"], "--tactics-seconds: expected at least 0, got -1"),
        (["--tactics", "nowhere.json"], "nowhere.json: expected a file of tactics, cannot read it (No such file"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onnx", "--weights", "tiny", *arguments]) == 2
    assert message in capsys.readouterr().err
