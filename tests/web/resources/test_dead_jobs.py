"""The dead-letter queue under the address that the file allocator's guide gives it."""

from tests.job_parts import Bench
from tests.web.resources.test_jobs import dead, parts, routed
from tests.web.routed import Routed

__all__ = ["parts", "routed"]
DLQ = "/api/v1/admin/dlq"


def test_dead_jobs_are_listed_with_why(parts: Bench, routed: Routed) -> None:
    job_id = dead(parts)
    alive = parts.submit().job.id
    page = routed.get(DLQ).json
    assert (page["total"], page["next_cursor"]) == (1, None)
    (one,) = page["jobs"]
    assert (one["job_id"], one["error"], one["retry_count"]) == (job_id, "signal 11", 0)
    assert routed.get(f"{DLQ}/{job_id}").json == one
    assert routed.get(f"{DLQ}/{alive}").status_code == 404


def test_one_or_all_are_tried_again(parts: Bench, routed: Routed) -> None:
    job_id = dead(parts)
    assert routed.post(f"{DLQ}/{job_id}").status_code == 202
    for _ in range(2):
        dead(parts)
    assert routed.post(DLQ).json == {"changed": 2, "left": 0}


def test_one_or_all_are_removed(parts: Bench, routed: Routed) -> None:
    first = dead(parts)
    dead(parts)
    assert routed.client.simulate_delete(f"{DLQ}/{first}").status_code == 204
    assert routed.client.simulate_delete(DLQ).json == {"changed": 1, "left": 0}
    assert list(parts.files.root.iterdir()) == []
