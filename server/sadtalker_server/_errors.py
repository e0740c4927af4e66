"""The one exception of this package."""

import errno
import shutil
import tempfile


class LaunchError(RuntimeError):
    """A failure to start or to stop cleanly; the text says why and what to do."""


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def unwritable(error: BaseException) -> LaunchError | None:
    """Return the error of a start that could not write its temporary files, as on a full disk; None for any other."""
    if isinstance(error, shutil.Error):  # of many files, each with its source, its target and its reason
        reason = error.args[0][0][2]
    elif isinstance(error, OSError) and error.errno in _UNWRITABLE:
        reason = error.strerror
    else:
        return None
    return LaunchError(f"temporary files cannot be written to {tempfile.gettempdir()}: {reason}")
