"""Deletes what is older than the settings allow: portraits, videos, and what dead replicas left behind."""

import asyncio
import logging
import time
from collections import defaultdict
from datetime import datetime

from .storage import Storage

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
ABANDONED_PARTS_SECONDS = 3600.0  # parts of a video in progress are read for minutes at most


async def sweep(storage: Storage, retention_seconds: float, now: float | None = None) -> int:
    """Delete everything that is too old, once, and return the number of objects deleted.

    A portrait or a video, which is a folder `OWNER/KIND/ID`, is as old as the newest object in it.
    """
    now = time.time() if now is None else now
    newest: dict[str, datetime] = {}
    members: dict[str, list[str]] = defaultdict(list)
    doomed: list[str] = []
    async for entry in storage.list(""):
        folder = "/".join(entry.name.split("/")[:3])
        members[folder].append(entry.name)
        newest[folder] = max(newest.get(folder, entry.changed_at), entry.changed_at)
        if "/parts/" in entry.name and now - entry.changed_at.timestamp() > ABANDONED_PARTS_SECONDS:
            doomed.append(entry.name)
    for folder, changed_at in newest.items():
        if now - changed_at.timestamp() > retention_seconds:
            doomed += members[folder]
    await storage.delete(*doomed)
    return len(doomed)


async def sweep_for_ever(storage: Storage, retention_seconds: float) -> None:
    """Sweep at intervals until cancelled."""
    while True:
        try:
            if count := await sweep(storage, retention_seconds):
                log.info("%d objects older than %g h deleted", count, retention_seconds / 3600)
        except Exception:
            log.exception("old objects could not be deleted, trying again later")
        await asyncio.sleep(min(SWEEP_SECONDS, max(retention_seconds / 4, 1)))
