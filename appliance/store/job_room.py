"""How many jobs and how much of the disk one key, and all together, may have.

One key that sends without end must not take the queue or the disk from all others.
"""

from typing import NamedTuple

from appliance import errors
from appliance.store.connection import Store

_MEGABYTE = 1_000_000
#: Jobs end within minutes; room comes back when somebody removes or fetches them.
_RETRY_JOBS_SECONDS, _RETRY_BYTES_SECONDS = 30.0, 300.0
_OPEN = "SELECT count(*) FROM jobs WHERE key_id = ? AND state IN ('waiting', 'running')"
_OF_KEY = "SELECT coalesce(sum(stored_bytes), 0) FROM jobs WHERE key_id = ?"
_OF_ALL = "SELECT coalesce(sum(stored_bytes), 0) FROM jobs"


class Room(NamedTuple):
    """The bounds for one job to come; without `per_key` those of a key do not hold for it."""

    most_per_key: int
    bytes_per_key: int
    most_bytes: int
    per_key: bool = True


def stored_bytes(store: Store) -> int:
    """Return the bytes on the disk that files and results of all jobs take."""
    with store.read() as connection:
        return int(connection.value(_OF_ALL))


def require_room(
    store: Store, room: Room, *, key_id: str, key_name: str, new_bytes: int = 0
) -> None:
    """Given the bounds, a key and the bytes that come, return when they fit.

    Raise RateLimited where that key has too much, InsufficientStorage where all have.
    """
    with store.read() as connection:
        if room.per_key:
            open_jobs = int(connection.value(_OPEN, (key_id,)))
            of_key = int(connection.value(_OF_KEY, (key_id,)))
            _require_of_key(room, key_name, open_jobs, of_key + new_bytes)
        of_all = int(connection.value(_OF_ALL)) + new_bytes
    if of_all > room.most_bytes:
        raise errors.InsufficientStorage(
            f"With this job, files and results of all jobs would take {_megabytes(of_all)};"
            f" {_megabytes(room.most_bytes)} is the most (jobs.most_bytes). Remove jobs that have"
            " ended."
        )


def _require_of_key(room: Room, key_name: str, open_jobs: int, of_key: int) -> None:
    if open_jobs >= room.most_per_key:
        raise errors.RateLimited(
            f"{open_jobs} jobs of the key {key_name!r} wait or run, and {room.most_per_key} is the"
            " most (jobs.most_per_key). Wait until some have ended, or cancel some.",
            retry_after_seconds=_RETRY_JOBS_SECONDS,
        )
    if of_key > room.bytes_per_key:
        raise errors.RateLimited(
            f"With this job, files and results of the key {key_name!r} would take"
            f" {_megabytes(of_key)}; {_megabytes(room.bytes_per_key)} is the most"
            " (jobs.bytes_per_key). Fetch results and remove their jobs.",
            retry_after_seconds=_RETRY_BYTES_SECONDS,
        )


def _megabytes(count: int) -> str:
    return f"{count / _MEGABYTE:,.1f} MB"
