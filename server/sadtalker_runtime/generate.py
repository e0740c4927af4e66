"""`make generate`, or `python -m sadtalker_runtime.generate`: writes what is derived from declarations into a checkout.

From `option_table`: the inputs of `sadtalker` and `sadtalker_live` in their `config.pbtxt`, and the tables in
README.md, docs/options.md and docs/live.md. From `version`: the parameter `version` of `sadtalker`. From
`configurations.variants`: every `model_repository/*/configs/*.pbtxt` (one that means the same as another is a link to
it) and docs/configurations.md.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sadtalker_runtime.configurations.pbtxt import ConfigText
from sadtalker_runtime.configurations.variants import VARIANTS, variants_of
from sadtalker_runtime.option_table import FACE_OPTIONS, LIVE_OPTIONS, OPTIONS, Option
from sadtalker_runtime.version import VERSION

COMMANDS = {"poster": "poster", "coefficients_only": "coefficients"}
"""Options that are commands and methods of the client instead of a flag and an argument."""
_TRITON_TYPES = {"BYTES": "STRING"}  # where a configuration names a type differently than a request


def configurations(repository: Path) -> dict[Path, str | Path]:
    """Return every generated file of a model repository, with its text or, for a link, what it points to."""
    files: dict[Path, str | Path] = {}
    for path in sorted(repository.glob("*/config.pbtxt")):
        model, config = path.parent.name, ConfigText.parse(path.read_text())
        if model == "sadtalker":
            config = config.put("input", inputs_text()).put(
                "parameters.version",
                "# Of the release that this repository belongs to; another one's runtime refuses it.\n"
                f'parameters {{ key: "version" value: {{ string_value: "{VERSION}" }} }}',
            )
            files[path] = str(config)
        elif model == "sadtalker_live":
            config = config.put("input", live_inputs_text())
            files[path] = str(config)
        for name, variant in variants_of(model, config).items():
            target = path.parent / "configs" / f"{name}.pbtxt"
            files[target] = Path(f"{variant}.pbtxt") if isinstance(variant, str) else str(variant)
    return files


def inputs_text() -> str:
    """Return the inputs of the model `sadtalker`, as its configuration lists them."""
    return _inputs(_input("image", "BYTES", (1,), optional=False), _input("audio", "BYTES", (1,)), *_options(OPTIONS))


def live_inputs_text() -> str:
    """Return the inputs of the model `sadtalker_live`, as its configuration lists them."""
    return _inputs(
        _input("image", "BYTES", (1,)),
        *_options(LIVE_OPTIONS),
        *_options(FACE_OPTIONS),
        _input("pcm", "INT16", (-1,)),
        _input("samples", "FP32", (-1,)),
        _input("rate", "INT32", (1,)),
        _input("control", "BYTES", (1,)),
        _input("received", "INT32", (1,)),
    )


def documents(root: Path) -> dict[Path, str]:
    """Return the documents with tables in them, as they must be."""
    tables = {
        root / "README.md": ("options", _short_table(OPTIONS)),
        root / "docs" / "live.md": ("options", _short_table(LIVE_OPTIONS) + f"\n\nand, as of a video, {_names()}."),
        root / "docs" / "options.md": ("options", _long_table()),
        root / "docs" / "configurations.md": ("variants", _variants_table()),
    }
    return {path: _with_table(path.read_text(), *table) for path, table in tables.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files that are out of date, list them, and remove variants that no longer exist."""
    parser = argparse.ArgumentParser(prog="python -m sadtalker_runtime.generate", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the checkout (default: here)")
    root = parser.parse_args(arguments).root
    repository = root / "model_repository"
    files = {**configurations(repository), **documents(root)}
    for path in sorted(repository.glob("*/configs/*.pbtxt")):
        if path not in files:
            path.unlink()
            sys.stdout.write(f"removed {path}\n")
    for path, wanted in files.items():
        if is_current(path, wanted):
            continue
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if isinstance(wanted, Path):
            path.symlink_to(wanted)
        else:
            path.write_text(wanted)
        sys.stdout.write(f"wrote {path}\n")
    return 0


def is_current(path: Path, wanted: str | Path) -> bool:
    """Return whether a file has this text, or is a link to this file."""
    if path.is_symlink():
        return path.readlink() == wanted
    return path.is_file() and path.read_text() == wanted


def _inputs(*lines: str) -> str:
    return "input [\n" + ",\n".join(lines) + "\n]"


def _input(name: str, datatype: str, dims: Sequence[int], optional: bool = True) -> str:
    """Return one input, its type named as in a request."""
    shape = ", ".join(map(str, dims))
    end = " optional: true" if optional else ""
    return f'  {{ name: "{name}" data_type: TYPE_{_TRITON_TYPES.get(datatype, datatype)} dims: [ {shape} ]{end} }}'


def _options(options: Mapping[str, Option]) -> list[str]:
    return [_input(option.name, option.datatype, option.dims) for option in options.values()]


def _names() -> str:
    """Return the options that live sessions share with videos, as a list in a sentence."""
    *names, last = (f"`{name}`" for name in FACE_OPTIONS)
    return f"{', '.join(names)} and {last}"


def _short_table(options: Mapping[str, Option]) -> str:
    return _table(
        ("option", "values", "default"),
        [(f"`{option.name}`", _values(option), _default(option)) for option in options.values()],
    )


def _long_table() -> str:
    tensors = [f"{o.datatype} [{', '.join('n' if d < 0 else str(d) for d in o.dims)}]" for o in OPTIONS.values()]
    return _table(
        ("option", "tensor", "values", "default", "command line"),
        [
            (f"`{option.name}`", tensor, _values(option), _default(option), f"`{_flag(option)}`")
            for option, tensor in zip(OPTIONS.values(), tensors, strict=True)
        ],
    )


def _values(option: Option) -> str:
    """Return the accepted values and what they are for, as a table's cell."""
    if option.kind == "curve":
        return f"key frames of seconds and {option.unit}, {option.low:g} to {option.high:g}: {option.help}"
    if option.kind in ("number", "times") and option.low >= 0:
        return f"{option.expected}: {option.help}"
    return option.help


def _default(option: Option) -> str:
    if option.default is None:
        return option.absent
    if option.special and option.default == option.special[0]:
        return option.special[1]
    return str(option.default).lower() if isinstance(option.default, bool) else f"{option.default}"


def _flag(option: Option) -> str:
    """Return the client's flag: one that is on by default has one to turn it off; some options are commands."""
    if option.name in COMMANDS:
        return f"sadtalker {COMMANDS[option.name]}"
    flag = option.name.replace("_", "-")
    if option.kind == "files":
        flag = flag.removesuffix("s")  # given once for each
    return f"--no-{flag}" if option.default is True else f"--{flag}"


def _variants_table() -> str:
    export = "sadtalker-export onnx"
    return _table(
        ("variant", "for", "exported by"),
        [
            (f"`{variant.name}`", " ".join(variant.purpose.split()), f"`{f'{export} {variant.export}'.strip()}`")
            for variant in VARIANTS.values()
        ],
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    head, *body = (f"| {' | '.join(row)} |" for row in (headings, *rows))
    return "\n".join([head, "|" + "---|" * len(headings), *body])


def _with_table(text: str, name: str, table: str) -> str:
    marked = re.compile(rf"(<!-- {name}[^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    new, found = marked.subn(lambda match: match[1] + table + "\n" + match[2], text)
    if found != 1:
        raise ValueError(f"expected one table between <!-- {name} --> and <!-- /{name} -->, got {found}")
    return new


if __name__ == "__main__":
    sys.exit(main())
