"""Errors that a command shows as one line instead of a traceback."""


class UsageError(Exception):
    """An argument or a file that cannot be used; the message says what was expected and what came (exit code 2)."""


class CheckFailedError(Exception):
    """A result that is not what it must be (exit code 1)."""
