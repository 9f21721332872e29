"""The tables refuse what no job can be; test_migrate.py runs the migration itself."""

import pytest

from appliance.errors import Conflict
from appliance.store import job_queue, jobs
from appliance.store.database import Database
from appliance.store.migrations import m0003_jobs
from tests.store.test_job_queue import a_job, a_result, added, taken


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "lost"},
        {"state": "running"},  # held by nobody
        {"instance": "i1"},  # held, but not running
        {"state": "done"},  # ended, but never
        {"attempts": -1},
        {"allowed_attempts": 0},
        {"progress": 1.5},
    ],
)
def test_what_no_job_can_be_is_refused_by_the_database_too(
    database: Database, changes: dict[str, object]
) -> None:
    assert m0003_jobs.VERSION == 3
    with pytest.raises(Conflict):
        jobs.add(database, a_job(**changes), most_waiting=10)


def test_a_second_result_of_a_job_is_refused_by_the_database_too(database: Database) -> None:
    added(database)
    lease = job_queue.lease_of(taken(database))
    job_queue.finish(database, lease, a_result(lease))
    with pytest.raises(Conflict):
        database.write(
            lambda connection: connection.sql(
                "INSERT INTO job_results VALUES (?, 2, 0.0, x'', '[]')", (lease.job_id,)
            )
        )
