"""Jobs as told: times as text, a result only when there is one, never where files lie."""

from appliance.actions.job_views import kept_of, view_of
from appliance.store.jobs import KeptFile, StoredInput
from tests.store.test_job_queue import WHY, a_job


def test_a_view_tells_no_paths_and_no_sums() -> None:
    sent = StoredInput(name="a", content_type="image/png", path="inputs/0001", bytes=3, sha256="f")
    shown = view_of(a_job(inputs=(sent,)))
    assert [(one.name, one.bytes, one.location) for one in shown.inputs] == [("a", 3, "")]
    assert "inputs/0001" not in str(shown)


def test_the_next_attempt_is_told_only_after_a_failed_one() -> None:
    assert view_of(a_job()).next_attempt is None
    assert view_of(a_job(attempts=1, problem=WHY)).next_attempt == "2026-09-21T14:13:20.000Z"


def test_the_newest_word_on_progress_counts_while_it_runs() -> None:
    running = a_job(state="running", instance="i1", progress=0.1)
    assert view_of(running, (0.75, "soon")).progress == 0.75
    assert view_of(a_job(), (0.75, "soon")).progress == 0.0


def test_a_result_is_linked_when_the_job_is_done() -> None:
    job = a_job(state="done", ended_seconds=1.0)
    assert view_of(job).result == f"/api/v1/jobs/{job.id}/result"
    assert view_of(a_job()).result is None
    assert kept_of(job.id, KeptFile(name="a/b.csv", bytes=1)).location.endswith("/result/a/b.csv")
