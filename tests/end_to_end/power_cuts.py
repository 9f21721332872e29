"""Power cuts (reliability test 48): the disk is copied in mid-run, and the copy must start.

The state lies on an ext4 of its own in a file. Under load the appliance is stopped for the moment
that copying the file takes, so that the copy is the disk as it was at one time: everything that
had not been synced is missing from it. Then an appliance is started on the copy.

    python -m tests.end_to_end.power_cuts --cuts 50
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.library.checksums import check_sums
from appliance.store import backup
from tests.end_to_end.image_disk import MEBIBYTE, make_image, mounted, why_not
from tests.end_to_end.running import HANG_SECONDS, Running, start, wait_for
from tests.tiny_models import picture, write_colour_model

IMAGE_BYTES = 192 * MEBIBYTE
SETTINGS = {"APPLIANCE_BACKUP__DAILY": "3", "APPLIANCE_STATE__RESERVE_BYTES": "1048576"}


@dataclass
class Outcome:
    """What one cut has shown; the lists are empty when all is well."""

    acknowledged: int = 0
    lost_keys: list[str] = field(default_factory=list)
    lost_backups: list[str] = field(default_factory=list)
    spoilt: list[str] = field(default_factory=list)
    ready_seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        return not (self.lost_keys or self.lost_backups or self.spoilt)


class Load:
    """Threads that write in every way there is, until the appliance is gone.

    What a list holds was acknowledged before the list is read.
    """

    def __init__(self, appliance: Running) -> None:
        self._appliance = appliance
        self.keys: list[str] = []
        self.backups: list[str] = []
        self._threads = [
            threading.Thread(target=self._until_gone, args=(work,))
            for work in (self._issue, self._issue, self._back_up, self._predict, self._predict)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._appliance.kill()
        for thread in self._threads:
            thread.join(HANG_SECONDS)
            assert not thread.is_alive()

    def _until_gone(self, work: Callable[[], None]) -> None:
        """Go on after a refusal: what waited while the appliance was stopped may be too late."""
        while self._appliance.process.poll() is None:
            try:
                work()
            except Exception:
                time.sleep(0.05)

    def _issue(self) -> None:
        self.keys.append(self._appliance.new_key("made under load")[0])

    def _predict(self) -> None:
        self._appliance.predict(picture())

    def _back_up(self) -> None:
        answer = self._appliance.post_json("/api/v1/backups", {})
        if answer.status == 201:
            self.backups.append(answer.json()["name"])
        time.sleep(0.5)


def cuts(place: Path, *, count: int, seed: int = 48) -> Iterator[Outcome]:
    """Given an empty directory, cut the power so many times and tell what each cut has shown."""
    chance = random.Random(seed)
    image = place / "disk.img"
    make_image(image, size_bytes=IMAGE_BYTES)
    with mounted(image, place / "disk") as disk:
        write_colour_model(disk / "state" / "models")
        os.chmod(disk / "state", 0o700)
        os.sync()  # without this the model itself comes back as empty files: so the cuts are real
        appliance = start(disk / "state", SETTINGS)
        with Load(appliance) as load:
            wait_for(lambda: load.keys and load.backups, "the first rows and backup")
            for _ in range(count):
                time.sleep(chance.uniform(0.05, 1.0))
                yield _cut(place, image, appliance, load)


def _cut(place: Path, image: Path, appliance: Running, load: Load) -> Outcome:
    snapshot = place / "snapshot.img"
    with _stopped(appliance):
        keys = list(load.keys)
        backups = load.backups[-1:]
        shutil.copyfile(image, snapshot)
        try:
            with mounted(snapshot, place / "copy") as disk:
                return _looked_at(disk / "state", keys, backups)
        finally:
            snapshot.unlink()


@contextlib.contextmanager
def _stopped(appliance: Running) -> Iterator[None]:
    """Stop the front, which is the only one to write, while the block runs.

    It stays stopped while the copy is looked at, so that neither takes the other's time.
    """
    appliance.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: _state_of(appliance.process.pid) == "T", "the stop")
    try:
        yield
    finally:
        appliance.process.send_signal(signal.SIGCONT)


def _state_of(process_id: int) -> str:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]


def _looked_at(state: Path, keys: list[str], backups: list[str]) -> Outcome:
    outcome = Outcome(acknowledged=len(keys) + len(backups))
    _look_at_files(state, backups, outcome)
    began = time.monotonic()
    copy = start(state, SETTINGS)
    try:
        outcome.ready_seconds = time.monotonic() - began
        listed = set(_keys_of(copy))
        outcome.lost_keys = [key for key in keys if key not in listed]
        if not copy.get("/api/v1/audit/verify").json()["is_intact"]:
            outcome.spoilt.append("the audit is not intact")
        if copy.predict(picture()).status != 200:
            outcome.spoilt.append("the model does not answer")
        outcome.spoilt += [
            f"it is not as it was: {reason}" for reason in copy.get("/health").json()["reasons"]
        ]
        if copy.stop() != 0:
            outcome.spoilt.append("it did not stop cleanly")
    finally:
        copy.kill()
    with contextlib.closing(sqlite3.connect(state / "appliance.db")) as connection:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            outcome.spoilt.append("the database is damaged")
    return outcome


def _look_at_files(state: Path, backups: list[str], outcome: Outcome) -> None:
    """Check every finished file before the appliance has had a chance to mend anything."""
    present = {path.name for path in (state / "backups").glob("*.backup")}
    # Names begin with the host and the time. A newer one, told or not, lets older ones go.
    newest = max(present, default="")
    outcome.lost_backups = [name for name in backups if newest < name]
    for name in present:
        try:
            backup.verify(state / "backups" / name, scratch_dir=state.parent)
        except Exception as fault:
            outcome.spoilt.append(f"{name}: {fault}")
    for manifest in state.glob("models/*/*/manifest.toml"):
        try:
            check_sums(manifest.parent)
        except Exception as fault:
            outcome.spoilt.append(f"{manifest.parent.name}: {fault}")


def _keys_of(appliance: Running) -> Iterator[str]:
    cursor: int | None = 0
    while cursor is not None:
        page = appliance.get(f"/api/v1/keys?limit=1000&cursor={cursor}").json()
        yield from (one["id"] for one in page["keys"])
        cursor = page["next_cursor"]


def main() -> None:
    """Cut the power many times and print what was lost."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=48)
    wanted = parser.parse_args()
    reason = why_not()
    if reason:
        raise SystemExit(f"No power can be cut here: {reason}.")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="ia-cut-") as place:
        for outcome in cuts(Path(place), count=wanted.cuts, seed=wanted.seed):
            outcomes.append(outcome)
            print(len(outcomes), outcome, flush=True)
    lost = sum(len(one.lost_keys) + len(one.lost_backups) for one in outcomes)
    slowest = max(one.ready_seconds for one in outcomes)
    print(
        f"{len(outcomes)} cuts, {max(one.acknowledged for one in outcomes)} acknowledged writes"
        f" at the last: {lost} lost, {sum(len(one.spoilt) for one in outcomes)} spoilt files or"
        f" rows; ready again after at most {slowest:.1f} s"
    )
    raise SystemExit(0 if all(one.is_well for one in outcomes) else 1)


if __name__ == "__main__":
    main()
