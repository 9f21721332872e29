"""Backup and restore by the command line: cases 127 to 129 of the catalogue."""

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import GENEROUS, Running, command, wait_for
from tests.tiny_models import picture, write_colour_model


def settings_of(state: Path) -> dict[str, str]:
    return {**GENEROUS, "APPLIANCE_STATE__DIR": str(state)}


def backup(appliance: Running, *options: str) -> Path:
    done = appliance.command("backup", "--json", *options)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["path"])


def rows(appliance: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = appliance.get("/api/v1/predictions?limit=1000").json()[
        "predictions"
    ]
    return found


def used(appliance: Running, count: int = 12) -> str:
    """Make some history; return the key it was made with."""
    _, key = appliance.new_key("camera")
    for number in range(count):
        colour = ("red", "lime", "blue")[number % 3]
        assert appliance.predict(picture(colour), key=key).status == 200
    wait_for(lambda: len(rows(appliance)) >= count, "the rows")
    return key


def test_c127_a_restored_appliance_answers_as_the_old_one_did(
    start_one: Start, short_path: Path
) -> None:
    first = start_one()
    key = used(first)
    before = rows(first)
    answer = first.predict(picture("blue"), key=key).json()["result"]
    file = backup(first, "--with-models")
    assert first.command("verify", str(file)).returncode == 0
    listed = json.loads(first.command("backups", "--json").stdout)
    assert [one["path"] for one in listed] == [str(file)]
    assert first.stop() == 0

    other = short_path / "other" / "state"
    done = command("restore", str(file), "--json", settings=settings_of(other))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["predictions"] >= len(before)
    shutil.copy(first.state / "admin-key", other / "admin-key")
    second = start_one(other, has_models=False)
    assert [row for row in rows(second) if row["id"] in {old["id"] for old in before}] == before
    assert second.predict(picture("blue"), key=key).json()["result"] == answer
    assert second.command("audit", "verify").returncode == 0


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Change a stretch: single bits may name another place with the very same zeros."""
    start = len(content) // 3
    spoilt = bytes(byte ^ 0xFF for byte in content[start : start + 64])
    return content[:start] + spoilt + content[start + 64 :]


@pytest.fixture(scope="module")
def sound(appliance: Running) -> bytes:
    """The bytes of a sound backup."""
    return backup(appliance).read_bytes()


@pytest.mark.parametrize("kind", ["cut", "flipped", "empty", "a copied database", "another zip"])
def test_c128_a_backup_that_is_not_whole_is_refused(
    appliance: Running, short_path: Path, sound: bytes, kind: str
) -> None:
    file = short_path / "some.backup"
    if kind == "a copied database":
        shutil.copy(appliance.state / "appliance.db", file)
    elif kind == "another zip":
        shutil.make_archive(str(short_path / "zipped"), "zip", Path(__file__).parent)
        (short_path / "zipped.zip").rename(file)
    else:
        file.write_bytes({"cut": cut, "flipped": flipped, "empty": lambda _: b""}[kind](sound))
    state = short_path / "state"
    verified = command("verify", str(file), settings=settings_of(state))
    assert verified.returncode != 0
    assert "Traceback" not in verified.stderr
    state.mkdir(mode=0o700)
    (state / "untouched").write_text("before")
    restored = command("restore", str(file), settings=settings_of(state))
    assert restored.returncode != 0
    assert "Traceback" not in restored.stderr
    assert sorted(path.name for path in state.iterdir()) in (["lock", "untouched"], ["untouched"])


def test_c128_a_running_appliance_is_not_restored_over(appliance: Running, sound: bytes) -> None:
    file = appliance.state.parent / "over.backup"
    file.write_bytes(sound)
    done = appliance.command("restore", str(file))
    assert done.returncode != 0
    assert str(appliance.process.pid) in done.stderr
    assert appliance.predict(picture()).status == 200


def test_c129_a_restored_state_that_does_not_start_is_taken_back(
    start_one: Start, short_path: Path
) -> None:
    wrong = start_one(short_path / "wrong" / "state", is_ready_awaited=False)
    write_colour_model(wrong.state / "models", name="wrong", golden_label="blue")
    file = backup(wrong, "--with-models")
    assert wrong.stop() == 0

    first = start_one()
    key = used(first, 3)
    assert first.stop() == 0
    done = command("restore", str(file), settings=settings_of(first.state))
    assert done.returncode != 0
    assert "wrong@1" in done.stderr
    assert "The state from before is back" in done.stderr.replace("\n", " ")
    second = start_one(first.state)
    assert second.predict(picture(), key=key).status == 200
    assert len(rows(second)) >= 3


def test_c129_the_state_from_before_a_restore_is_kept(start_one: Start) -> None:
    first = start_one()
    file = backup(first)
    key = used(first, 3)
    assert first.stop() == 0
    done = command("restore", str(file), settings=settings_of(first.state))
    assert done.returncode == 0, done.stderr
    (kept,) = first.state.glob("before-restore-*")
    with sqlite3.connect(kept / "appliance.db") as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (3,)
    connection.close()
    second = start_one(first.state)
    assert second.predict(picture(), key=key).status == 401
    assert rows(second) == []
    assert os.path.samefile(second.state, first.state)
