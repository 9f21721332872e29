"""The schema's history: one numbered module per change, listed in order, never edited later."""

import msgspec

from appliance.store.migrations import (
    m0001_first,
    m0002_streams,
    m0003_jobs,
    m0004_job_room,
)


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema: the number it leads to and the statements that lead there."""

    version: int
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(m0001_first.VERSION, m0001_first.STATEMENTS),
    Migration(m0002_streams.VERSION, m0002_streams.STATEMENTS),
    Migration(m0003_jobs.VERSION, m0003_jobs.STATEMENTS),
    Migration(m0004_job_room.VERSION, m0004_job_room.STATEMENTS),
)

#: The schema this program reads and writes.
LATEST: int = MIGRATIONS[-1].version
