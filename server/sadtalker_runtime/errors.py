"""Errors of a request, and how they travel between models."""

REFUSED = "INVALID_ARGUMENT: "
"""Begins the message of a refused request: calls between models and streams carry a message, but no status."""


class InputError(ValueError):
    """An input that cannot be used; the message says what was expected and what came."""


class CallError(RuntimeError):
    """A called model's error, whose message this is."""

    @property
    def refused(self) -> bool:
        """Whether the called model refused its input, as opposed to having failed."""
        return str(self).startswith(REFUSED)
