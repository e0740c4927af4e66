"""Errors of a request, and how they travel between models."""

REFUSED = "INVALID_ARGUMENT: "
"""Prefix of a refused request's message: calls between models and streams carry a message, but no status."""

UNAVAILABLE = "UNAVAILABLE: "
"""Prefix of the message of a request that another server could serve, or this one later."""

EXCERPT = 80
"""Characters of anything the caller sent that a message repeats at most."""


class InputError(ValueError):
    """An input that cannot be used; the message says what was expected and what was received."""


class CallError(RuntimeError):
    """An error of a called model, with that model's message."""

    @property
    def refused(self) -> bool:
        """Whether the called model refused its input, as opposed to having failed."""
        return str(self).startswith(REFUSED)

    @property
    def unavailable(self) -> bool:
        """Whether the server lacks something, as opposed to having failed."""
        return str(self).startswith(UNAVAILABLE)


def excerpt(value: object) -> str:
    """Return the beginning of a text, or of an error about one, for a message: at most EXCERPT printable characters."""
    text = str(value)[: EXCERPT + 1]
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= EXCERPT else f"{shown[: EXCERPT - 3]}..."
