"""What a command tells a person instead of a traceback."""


class UsageError(Exception):
    """Arguments or files that cannot be used; the message says what was expected and what came (exit code 2)."""


class CheckFailedError(Exception):
    """The work was done, or tried, and its result is not what it must be (exit code 1)."""
