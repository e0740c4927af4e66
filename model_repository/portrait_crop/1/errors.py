"""What goes wrong by the caller's doing."""

REFUSED = "INVALID_ARGUMENT: "
"""Begins the message of a refused request: calls between models and streams carry a message, but no status."""


class InputError(ValueError):
    """The input cannot be used; the message says what was expected and what came."""
