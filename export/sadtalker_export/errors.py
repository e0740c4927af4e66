"""Errors that a command shows as one line instead of a traceback."""


class UsageError(Exception):
    """An unusable argument or file; the message says what was expected and what was found (exit code 2)."""


class CheckFailedError(Exception):
    """A result that fails a check (exit code 1)."""
