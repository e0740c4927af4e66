"""The forms of a network for one processor: measured where they are not known, then chosen part by part."""

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.progress import Progress
from torch import nn

from ..onnx.graph import export, sample
from ..precision.forms import in_precision
from ..rewrites.for_cpu import portable
from ..rewrites.forms import PLAIN
from ..rewrites.parts import Choice, PartChoice, described
from ..specs import NetworkSpec
from .cache import ERROR_LIMITS, Cache, TacticsError, Timing
from .layers import Met, met_layers
from .measure import open_engine, time_forms

WHOLE_ROUNDS = 3
LAYERS_PART = 0.75  # of the time, at most: the whole network is measured, too
NOTICEABLE = 1.03
"""How many times as fast another form has to be: two measurements of the same one differ by a few per cent."""
CHOSEN, PORTABLE = "chosen_ms", "portable_ms"


def measure(
    cache: Cache, spec: NetworkSpec, module: nn.Module, precisions: Sequence[str], seconds: float, bar: Progress
) -> None:
    """Time every layer that the cache lacks, the largest first, for about so many seconds; then the whole network."""
    start = time.monotonic()
    deadline = start + seconds
    groups = _by_layer(met_layers(spec, module))
    missing = [
        (precision, group)
        for precision in precisions
        for group in groups
        if precision not in cache.layers.get(group[0].description, {})
    ]
    task = bar.add_task(f"measuring the forms of {spec.name}", total=len(missing) + len(precisions))
    for precision, (first, *others) in missing:
        if time.monotonic() < start + LAYERS_PART * seconds:
            bar.update(task, description=f"measuring {precision}, {first.layer.kind} of {spec.name}")
            timings = cache.layers.setdefault(first.description, {})
            timings[precision] = time_forms(first, others, precision)
        bar.advance(task)
    for precision in precisions:
        forms, usual = fastest(cache, spec, module, precision), portable(module, precision)
        key = _key(spec, module, precision, forms)
        if forms != usual and key not in cache.wholes and time.monotonic() < deadline:
            bar.update(task, description=f"measuring {precision}, the whole of {spec.name}")
            cache.wholes[key] = {
                CHOSEN: _time_whole(spec, module, precision, forms),
                PORTABLE: _time_whole(spec, module, precision, usual),
            }
        bar.advance(task)


def choose(cache: Cache, spec: NetworkSpec, module: nn.Module, precision: str) -> Choice:
    """Return the fastest forms, or the portable ones where those were faster as a whole."""
    forms = fastest(cache, spec, module, precision)
    whole = cache.wholes.get(_key(spec, module, precision, forms))
    return portable(module, precision) if whole and whole[PORTABLE] < whole[CHOSEN] else forms


def fastest(cache: Cache, spec: NetworkSpec, module: nn.Module, precision: str) -> Choice:
    """Return, for every part, the order whose layers take the least time together, and their fastest forms.

    Forms beyond the error limit do not count; plain ones, and the portable order, stay where no other is noticeably
    faster. An order with a layer that was not measured is left out. A part of which
    no order is complete keeps its portable order and, for layers that were not measured, its portable forms.
    """
    usual = portable(module, precision)
    choice: dict[str, PartChoice] = {}
    for name, part in groupby(met_layers(spec, module), key=lambda met: met.part.name):
        orders = []
        partial = usual[name]
        for order, layers in groupby(part, key=lambda met: met.order):
            found = {met.layer.name: _best(cache, met, precision) for met in layers}
            if all(found.values()):
                forms = {layer: best[1] for layer, best in found.items() if best and best[1] != PLAIN}
                orders.append((sum(best[0] for best in found.values() if best), PartChoice(order, forms)))
            elif order == partial.order:
                known = {layer: best[1] for layer, best in found.items() if best}
                forms = {layer: form for layer, form in {**partial.forms, **known}.items() if form != PLAIN}
                partial = PartChoice(order, forms)
        least = min((ms for ms, _ in orders), default=0.0)
        near = [found for ms, found in orders if ms <= NOTICEABLE * least and found.order == usual[name].order]
        choice[name] = [*near, *(found for ms, found in orders if ms == least), partial][0]
    return choice


def check_complete(cache: Cache, path: Path, spec: NetworkSpec, module: nn.Module, precision: str) -> None:
    """Raise `TacticsError` unless the file has every layer of a network."""
    layers = {met.description for met in met_layers(spec, module)}
    missing = sorted(layer for layer in layers if precision not in cache.layers.get(layer, {}))
    if missing:
        raise TacticsError(
            f"{path} was not measured for these networks: it lacks {len(missing)} of {len(layers)} layers of "
            f"{spec.name} in {precision}, the first is {missing[0]!r}"
        )


def _best(cache: Cache, met: Met, precision: str) -> tuple[float, str] | None:
    """Return the milliseconds and the name of a layer's fastest form in its order; None where none is measured."""
    timings: Mapping[str, Timing] = cache.layers.get(met.description, {}).get(precision, {})
    allowed = [
        (timing.ms, form)
        for form in met.forms
        if (timing := timings.get(f"{met.order} {form}")) and timing.error <= ERROR_LIMITS[precision]
    ]
    fastest_form = min(allowed, default=None)
    plain = next((entry for entry in allowed if entry[1] == PLAIN), None)
    return plain if plain and fastest_form and plain[0] <= NOTICEABLE * fastest_form[0] else fastest_form


def _by_layer(layers: Sequence[Met]) -> list[list[Met]]:
    """Return the layers by description, the largest first, each once for every order that it has."""
    groups: dict[str, dict[str, Met]] = {}
    for met in layers:
        groups.setdefault(met.description, {}).setdefault(met.order, met)
    found = [list(orders.values()) for orders in groups.values()]
    return sorted(found, key=lambda group: -group[0].arithmetic)


def _time_whole(spec: NetworkSpec, module: nn.Module, precision: str, choice: Choice) -> float:
    """Return the milliseconds of one item of the whole network, the best of some."""
    feed = {tensor.name: sample(spec, tensor, 1) for tensor in spec.inputs}
    with tempfile.TemporaryDirectory(prefix="sadtalker-tactics-") as folder:
        path = Path(folder) / "model.onnx"
        export(spec, in_precision(spec, module, precision, choice)[0], path)
        session = open_engine(path, precision)
    seconds = []
    for _ in range(WHOLE_ROUNDS + 1):
        start = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - start)
    return round(1e3 * float(np.min(seconds[1:])), 2)


def _key(spec: NetworkSpec, module: nn.Module, precision: str, choice: Choice) -> str:
    """Return what identifies a whole network in some forms."""
    layers = sorted({met.description for met in met_layers(spec, module)})
    text = repr((layers, described(choice)))
    return f"{spec.name} {precision} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
