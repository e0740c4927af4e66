"""Options of a live session, besides those that it shares with a video."""

from dataclasses import dataclass

from sadtalker_runtime.option_table import LIVE_OPTIONS
from sadtalker_runtime.options import check_option

FULL = -1
"""The look-ahead that waits for all that a recording's frame would have seen."""


@dataclass(frozen=True)
class LiveOptions:
    """Options of one session; `option_table.LIVE_OPTIONS` says what each means and which values it may have.

    Raises:
        InputError: a value is out of range; the message names it.
    """

    look_ahead: int = 4
    pace: str = "realtime"
    idle: bool = True
    format: str = "jpeg"

    def __post_init__(self) -> None:
        for option in LIVE_OPTIONS.values():
            check_option(option, getattr(self, option.name))
