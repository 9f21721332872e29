"""Letting old history go, in steps so small that nobody waits for them."""

import logging

import msgspec

from appliance.store.connection import PAGE_BYTES, Connection
from appliance.store.database import Database

log = logging.getLogger("appliance.store")

SECONDS_PER_DAY = 86400.0
ROWS_PER_STEP = 500
PAGES_PER_STEP = 1000
#: Share of the quota at which the oldest rows go, and down to which.
FULL_SHARE = 0.90
CALM_SHARE = 0.85
#: Free pages inside the file that are kept for the rows to come, as a share of all.
SPARE_SHARE = 0.10
#: Counting a large history may take so many times longer than a search may.
_COUNT_PATIENCE = 30.0

_OLDEST = (
    "DELETE FROM predictions WHERE sequence IN (SELECT sequence FROM predictions"
    " WHERE received_seconds < ? ORDER BY received_seconds, sequence LIMIT ?)"
)
_EVERY_TIME = float("inf")


class Pruned(msgspec.Struct, frozen=True):
    """How many rows went and why, and how many bytes the file gave back to the disk."""

    by_age: int
    by_count: int
    by_quota: int
    freed_bytes: int
    is_paused: bool


def prune(
    database: Database, *, keep_days: float, keep_rows: int, now: float, is_urgent: bool = False
) -> Pruned:
    """Given the bounds and the wall time, delete predictions beyond them, oldest first.

    When it `is_urgent`, because the disk is full, the file gives every free page back.

    While the wall clock is suspect nothing is deleted by age or count, because both order rows
    by it. The quota counts always: without room nothing new could be kept.
    """
    is_paused = database.status().clock_is_suspect
    by_age = by_count = 0
    if is_paused:
        log.warning("retention paused: the clock is suspect")
    else:
        by_age = _delete(database, before_seconds=now - keep_days * SECONDS_PER_DAY)
        by_count = _delete(database, most=_rows_beyond(database, keep_rows))
    by_quota = _delete_for_quota(database)
    freed_bytes = _give_back_pages(database, spare_share=0.0 if is_urgent else SPARE_SHARE)
    if by_age or by_count or by_quota:
        log.info(
            "history pruned",
            extra={"by_age": by_age, "by_count": by_count, "by_quota": by_quota},
        )
    return Pruned(by_age, by_count, by_quota, freed_bytes, is_paused)


def _rows_beyond(database: Database, keep_rows: int) -> int:
    """Return how many rows there are too many; they are counted only if there may be some.

    Numbers only grow, so first and last tell the most rows there can be, without a look at them.
    """
    with database.read(patience=_COUNT_PATIENCE) as connection:
        first = connection.value("SELECT min(sequence) FROM predictions")
        last = connection.value("SELECT max(sequence) FROM predictions")
        if first is None or last - first + 1 <= keep_rows:
            return 0
        return int(connection.value("SELECT count(*) FROM predictions")) - keep_rows


def _delete(
    database: Database, *, before_seconds: float = _EVERY_TIME, most: int | None = None
) -> int:
    """Delete the oldest rows received before a time, at most `most`; return how many went."""
    deleted = 0
    while most is None or deleted < most:
        step = ROWS_PER_STEP if most is None else min(ROWS_PER_STEP, most - deleted)

        def work(connection: Connection, step: int = step) -> int:
            connection.sql(_OLDEST, (before_seconds, step))
            return connection.changes()

        gone = database.write(work)
        deleted += gone
        if gone < step:
            break
    return deleted


def _delete_for_quota(database: Database) -> int:
    deleted = 0
    if _used_share(database) < FULL_SHARE:
        return 0
    while _used_share(database) > CALM_SHARE:
        gone = _delete(database, most=ROWS_PER_STEP)
        deleted += gone
        if gone < ROWS_PER_STEP:
            break
    return deleted


def _used_share(database: Database) -> float:
    pages, free = _pages(database)
    return (pages - free) * PAGE_BYTES / database.quota_bytes


def _pages(database: Database) -> tuple[int, int]:
    """Return the pages of the file and how many of them are free."""
    with database.read() as connection:
        return (
            int(connection.value("PRAGMA page_count")),
            int(connection.value("PRAGMA freelist_count")),
        )


def _give_back_pages(database: Database, *, spare_share: float) -> int:
    """Shrink the file while it has many more free pages than it will need soon."""
    before, free = _pages(database)
    pages = before
    least = PAGES_PER_STEP if spare_share else 0
    while free > max(spare_share * pages, least):
        database.write(
            lambda connection: connection.sql(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})")
        )
        previous, (pages, free) = pages, _pages(database)
        if pages >= previous:
            break
    return (before - pages) * PAGE_BYTES
