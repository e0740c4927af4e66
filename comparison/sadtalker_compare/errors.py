"""The error of a comparison that cannot be made."""


class ComparisonError(ValueError):
    """A plan, file or video that cannot be used; the message says what was expected and what was found."""
