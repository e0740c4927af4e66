"""HTTP gateway of a SadTalker server: text in, the URL of a video or a live page out.

    sadtalker-gateway --triton-url 127.0.0.1:8001

A thin, stateless front over `sadtalker_client`: it splits text into sentences, has them spoken, asks Triton for the
animation of each and joins them into one continuous video. It never computes a frame. Portraits, finished videos and
their state lie in one object store, so any replica answers for any of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .settings import Settings

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    """Import what is used, so that the command can start, and name the extra, where the packages are missing."""
    if name == "create_app":
        from .app import create_app

        return create_app
    if name == "Settings":
        from .settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
