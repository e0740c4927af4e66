"""The one exception of this package."""


class LaunchError(RuntimeError):
    """The server cannot start or did not stop as it should; the text says why and what to do."""
