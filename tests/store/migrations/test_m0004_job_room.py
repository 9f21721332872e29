"""Jobs from before know afterwards how much room they take."""

from pathlib import Path

from appliance.clock import ManualClock
from appliance.store.connection import open_writer
from appliance.store.migrate import migrate
from appliance.store.migrations import MIGRATIONS, m0004_job_room

MEBIBYTE = 1024 * 1024
INPUTS = '[{"name":"a","bytes":100},{"name":"b","bytes":23}]'
_JOB = (
    "INSERT INTO jobs (id, kind, state, priority, model, pins, params, inputs, key_id, key_name,"
    " request_id, digest, created_seconds, due_seconds, ended_seconds, attempts, allowed_attempts,"
    " instance, progress, message, is_cancelling)"
    " VALUES (?, 'k', ?, 0, '', '[]', '{}', ?, 'k1', 'gate', 'r', x'', 0, 0, ?, 1, 3, '', 0, '',"
    " 0)"
)


def test_what_was_there_before_is_counted(tmp_path: Path) -> None:
    assert m0004_job_room.VERSION == 4
    connection = open_writer(tmp_path / "appliance.db", quota_bytes=64 * MEBIBYTE)
    try:
        migrate(connection, clock=ManualClock(), migrations=MIGRATIONS[:3])
        states = {"waiting": None, "dead": 1.0, "cancelled": 1.0, "done": 1.0}
        for state, ended in states.items():
            connection.sql(_JOB, (state, state, INPUTS, ended))
        connection.sql(_JOB, ("bare", "done", "[]", 1.0))
        connection.sql(
            "INSERT INTO job_results VALUES ('done', 1, 0.0, x'7b7d', ?)",
            ('[{"name":"r","bytes":40}]',),
        )
        migrate(connection, clock=ManualClock(), migrations=MIGRATIONS[:4])
        found = dict(connection.sql("SELECT id, stored_bytes FROM jobs"))
    finally:
        connection.close()
    assert found == {"waiting": 123, "dead": 123, "cancelled": 0, "done": 42, "bare": 0}
