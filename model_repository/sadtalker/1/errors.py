"""What goes wrong by the caller's doing."""


class InputError(ValueError):
    """The input cannot be used; the message says what was expected and what came."""
