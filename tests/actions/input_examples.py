"""What the tests of kept inputs share: predictions of any age, and a keeper over a real disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.actions.keep_inputs import InputKeeper
from appliance.clock import ManualClock
from appliance.config import History
from appliance.identifiers import new_id
from appliance.store import predictions
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
from appliance.store.kept_inputs import KeptInputs
from tests.access_parts import opened
from tests.actions.examples import a_prediction

DAY_SECONDS = 86400.0
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


def an_id(seconds: float) -> str:
    """Return an identifier as it was made at a time."""
    text = f"{int(seconds * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-{new_id()[14:]}"


class Keeping:
    """A keeper of inputs on a disk that can be filled, over a database."""

    def __init__(
        self, directory: Path, database: Database, clock: ManualClock, **history: Any
    ) -> None:
        self.clock, self.database = clock, database
        self.free_share = 0.5
        self.disk = DiskWatch(
            directory, reserve_bytes=4096, clock=clock, measure=lambda _: self._facts()
        )
        self.disk.check()
        self.files = KeptInputs(directory / "inputs")
        wanted: dict[str, Any] = {"keep_inputs": ("vehicle-type",), **history}
        self.keeper = InputKeeper(
            History(**wanted), clock, database=database, disk=self.disk, files=self.files
        )

    def _facts(self) -> os.statvfs_result:
        free = int(256_000 * self.free_share)
        return os.statvfs_result((4096, 4096, 256_000, free, free, 1000, 900, 900, 0, 255))

    def fill_disk(self, free_share: float) -> None:
        self.free_share = free_share
        self.disk.check()

    def remember(
        self, body: bytes = PICTURE, *, age_seconds: float = 1000.0, **changes: Any
    ) -> str:
        """Record a prediction of an age, offer its input, and return its id."""
        prediction_id = an_id(self.clock.wall_seconds() - age_seconds)
        row = a_prediction(
            **{
                "id": prediction_id,
                "received_seconds": self.clock.wall_seconds() - age_seconds,
                "input_bytes": len(body),
                "content_type": "image/png",
                **changes,
            }
        )
        assert predictions.record(self.database, row)
        assert self.database.flush()
        self.keeper.offer(row.model, prediction_id, body)
        return prediction_id

    def kept(self) -> list[str]:
        """Return the ids of what is on the disk once nothing waits any more."""
        assert self.keeper.flush()
        return [one.id for one in self.files.listed()]


@contextmanager
def keeping_in(directory: Path) -> Iterator[Keeping]:
    """Given a state directory, yield a keeper over it, not started; at the end it is stopped."""
    clock = ManualClock()
    with opened(directory, clock) as database:
        found = Keeping(directory, database, clock)
        yield found
        found.keeper.stop()
