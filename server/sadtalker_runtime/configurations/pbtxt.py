"""Model configurations as text: fields in order with the comments above them, so that a variant reads like its base."""

import re
from dataclasses import dataclass, replace

_FIELD = re.compile(r"(\w+)")
_PARAMETER = re.compile(r'parameters \{ key: "(\w+)"')
_TENSOR = re.compile(r'\{ name: "(\w+)" data_type: TYPE_(\w+) dims: \[ ([-\d, ]+) \]')


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model; `dims` is without the batch axis."""

    name: str
    datatype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class ConfigText:
    """The text of one `config.pbtxt`, written as this repository writes them: top-level fields begin a line."""

    header: str
    """Comments above the first field."""
    fields: tuple[tuple[str, str], ...]
    """Name and text of every field; the text begins with the comments and empty lines above it. A parameter's name is
    `parameters.<key>`."""

    @classmethod
    def parse(cls, text: str) -> "ConfigText":
        """Split a configuration into its fields.

        Raises:
            ValueError: a bracket is never closed.
        """
        fields: list[tuple[str, str]] = []
        name, lines, depth = "", list[str](), 0
        for line in text.splitlines(keepends=True):
            code = line.partition("#")[0]
            if not name and code.strip():
                name = _name(code)
            lines.append(line)
            depth += sum(code.count(bracket) for bracket in "{[") - sum(code.count(bracket) for bracket in "}]")
            if name and depth == 0:
                fields.append((name, "".join(lines)))
                name, lines = "", []
        if name or not fields:
            raise ValueError(f"field {name or 'name'}: expected its end, got the end of the text")
        first, first_text = fields[0]
        header = "".join(line for line in first_text.splitlines(keepends=True) if line.startswith("#"))
        fields[0] = first, first_text.removeprefix(header)
        return cls(header, tuple(fields))

    def __str__(self) -> str:
        return self.header + "".join(text for _, text in self.fields)

    @property
    def body(self) -> str:
        """The text without comments: what Triton reads."""
        return "\n".join(line for line in str(self).splitlines() if line and not line.startswith("#"))

    def has(self, name: str) -> bool:
        """Return whether there is a field of this name."""
        return any(field == name for field, _ in self.fields)

    def put(self, name: str, text: str, after: str | None = None) -> "ConfigText":
        """Replace a field, or add it: behind the field `after`, by default at the end; drop others of that name."""
        text = text.rstrip("\n") + "\n"
        if self.has(name):
            first = [field for field, _ in self.fields].index(name)
            kept = [(n, t) for i, (n, t) in enumerate(self.fields) if n != name or i == first]
            return replace(self, fields=tuple((n, text if n == name else t) for n, t in kept))
        place = len(self.fields) if after is None else [field for field, _ in self.fields].index(after) + 1
        return replace(self, fields=(*self.fields[:place], (name, text), *self.fields[place:]))

    def drop(self, *names: str) -> "ConfigText":
        """Remove the fields of these names."""
        return replace(self, fields=tuple(field for field in self.fields if field[0] not in names))

    def tensors(self, field: str) -> list[Tensor]:
        """Return the tensors of the field `input` or `output`."""
        (text,) = (text for name, text in self.fields if name == field)
        return [
            Tensor(name, datatype, tuple(int(size) for size in dims.split(",")))
            for name, datatype, dims in _TENSOR.findall(text)
        ]

    def with_doubled(self, tensors: tuple[str, ...], sizes: tuple[int, ...]) -> "ConfigText":
        """Double these sizes among the dimensions of these tensors."""

        def doubled(found: re.Match[str]) -> str:
            if found[1] not in tensors:
                return found[0]
            dims = [2 * size if size in sizes else size for size in map(int, found[3].split(","))]
            return found[0].replace(found[3], ", ".join(map(str, dims)))

        return replace(
            self,
            fields=tuple(
                (name, _TENSOR.sub(doubled, text) if name in ("input", "output") else text)
                for name, text in self.fields
            ),
        )


def _name(line: str) -> str:
    if parameter := _PARAMETER.match(line):
        return f"parameters.{parameter[1]}"
    field = _FIELD.match(line)
    if field is None:
        raise ValueError(f"expected a field at the beginning of a line, got {line.rstrip()!r}")
    return field[1]
