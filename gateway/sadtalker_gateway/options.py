"""The options of an animation as HTTP takes them, derived from the client's own declaration `sadtalker_client.Options`.

Every name, type and line of help comes from there, so an option that the client learns is offered here, too. In a
form, numbers, words and switches are plain fields; curves and lists are JSON, as in `yaw=[[0, 0], [2, 15]]`; videos
and further photos are files.
"""

import ast
import inspect
import json
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import sadtalker_client
from fastapi import File, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field, create_model
from sadtalker_client import InvalidInputError, Options

QUALITIES = {"low": "none", "high": "gfpgan"}  # quality -> the option `enhance`
_SCALARS = (int, float, bool, str)


def _descriptions() -> dict[str, str]:
    """Return the docstring below each field of `Options`."""
    (declaration,) = ast.parse(inspect.getsource(Options)).body
    assert isinstance(declaration, ast.ClassDef)
    found = {}
    for field, below in zip(declaration.body, declaration.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = " ".join(text.value.split())
    return found


def _members(hint: Any) -> set[Any]:
    return {member for member in get_args(hint) if member is not types.NoneType}


def _elements(hint: Any) -> set[Any]:
    """Return what the elements of a sequence may be, given its type."""
    return {kind for element in get_args(hint) for kind in (get_args(element) or (element,))}


HINTS = get_type_hints(Options)
DESCRIPTIONS = _descriptions()
FILES = [name for name, hint in HINTS.items() if bytes in _members(hint)]
FILE_LISTS = [
    name
    for name, hint in HINTS.items()
    if name not in FILES and any(bytes in _elements(member) for member in _members(hint))
]
SCALARS = {
    name: next(iter(_members(hint)))
    for name, hint in HINTS.items()
    if len(_members(hint)) == 1 and next(iter(_members(hint))) in _SCALARS
}
STRUCTURED = [name for name in HINTS if name not in {*FILES, *FILE_LISTS, *SCALARS}]


async def form_options(**fields: Any) -> dict[str, Any]:
    """Return the options of a form as `sadtalker_client.animate` takes them; files as bytes.

    Raises:
        InvalidInputError: a field cannot be what the option wants.
    """
    options: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, str):
            value = _size(value) if name == "size" else _parsed(name, value) if name in STRUCTURED else value
        elif name in FILES:
            value = await value.read()
        elif name in FILE_LISTS:
            value = [await file.read() for file in value]
        options[name] = value
    return options


def _form_signature() -> inspect.Signature:
    parameters = []
    for name in HINTS:
        help_text = DESCRIPTIONS.get(name)
        if name in FILES:
            annotation: Any = Annotated[UploadFile | None, File(description=help_text)]
        elif name in FILE_LISTS:
            annotation = Annotated[list[UploadFile] | None, File(description=help_text)]
        elif name == "size":
            annotation = Annotated[str | None, Form(description=f"{help_text} 256 or 256x256.", max_length=32)]
        elif name in STRUCTURED:
            annotation = Annotated[str | None, Form(description=f"{help_text} JSON.", max_length=200_000)]
        else:
            annotation = Annotated[SCALARS[name] | None, Form(description=help_text)]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return inspect.Signature(parameters)


form_options.__signature__ = _form_signature()  # type: ignore[attr-defined]  # FastAPI reads the fields from it


class _OptionsBody(BaseModel):
    """Options of the animation in a JSON body."""

    model_config = ConfigDict(extra="forbid")


def _body_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, hint in HINTS.items():
        if name not in {*FILES, *FILE_LISTS}:
            kind = _json_type(hint)
            fields[name] = (kind, Field(None, description=DESCRIPTIONS.get(name)))
    return fields


def _json_type(hint: Any) -> Any:
    members = _members(hint)
    if members <= set(_SCALARS):
        return hint
    return float | list[tuple[float, float]] | None if float in members else list[float] | None


if TYPE_CHECKING:
    OptionsBody = _OptionsBody
else:
    OptionsBody = create_model("OptionsBody", __base__=_OptionsBody, **_body_fields())


def with_quality(options: Mapping[str, Any], quality: str) -> dict[str, Any]:
    """Return the options with the restoration that the quality asks for; an explicit `enhance` wins."""
    return {"enhance": QUALITIES[quality], **options} if QUALITIES[quality] != "none" else dict(options)


def known_to_client(name: str) -> bool:
    """Return whether the installed client can send an option."""
    return name in get_type_hints(sadtalker_client.Options)


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{name}: expected JSON, got {text[:100]!r}") from error


def _size(text: str) -> int:
    """Return the edge of "256" or of a square such as OpenAI's clients write it, "256x256"."""
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height in ("", width) and len(width) < 6):
        raise InvalidInputError(f"size: expected an edge in pixels, such as 256 or 256x256, got {text!r}")
    return int(width)
