"""Metrics: their values, their names and what a scrape never does."""

import shutil
import subprocess
import threading
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.metrics import COUNTED, LABEL_SETS, NAMESPACE, WATCHED, Metrics, Reading


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, _ = metrics.exposition()
    return {
        (sample.name.removeprefix(f"{NAMESPACE}_"), tuple(sorted(sample.labels.items()))): value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        for value in [sample.value]
    }


def busy() -> Metrics:
    """Return metrics in which every family has a value."""
    metrics = Metrics()
    metrics.request_finished(route="/live", method="GET", status=200, seconds=0.001)
    metrics.call_finished("vehicle-type", 1, "ok", (0.0, 0.001, 0.002, 0.0001))
    metrics.call_finished("vehicle-type", 1, "overloaded", (5.0, 0.0, 0.0, 0.0))
    metrics.commit_finished(0.003)
    metrics.host_restarted("vehicle-type", "exit")
    metrics.model_load_failed("vehicle-type")
    metrics.prediction_answered(is_recorded=True)
    metrics.prediction_answered(is_recorded=False)
    metrics.rate_limited("address")
    for event in ("turned_away", "cut", "rejected"):
        metrics.server_event(event, reason="overloaded", address="192.0.2.1", status="503")
    metrics.watch(lambda: {name: one_of(name) for name in WATCHED})
    return metrics


def one_of(name: str) -> Reading:
    labels = WATCHED[name].labels
    return {tuple("a" for _ in labels): 1.0} if labels else 1.0


def test_a_request_is_counted_and_timed() -> None:
    metrics = Metrics()
    metrics.request_finished(route="/live", method="GET", status=200, seconds=0.0015)
    found = samples(metrics)
    labels = (("method", "GET"), ("route", "/live"), ("status", "200"))
    assert found["requests_total", labels] == 1
    buckets = {
        dict(key[1])["le"]: value
        for key, value in found.items()
        if key[0] == "request_duration_seconds_bucket"
    }
    assert (buckets["0.001"], buckets["0.002"], buckets["+Inf"]) == (0, 1, 1)
    assert found["request_duration_seconds_sum", (("route", "/live"),)] == 0.0015


def test_a_duration_on_a_bound_belongs_to_that_bucket() -> None:
    metrics = Metrics()
    metrics.commit_finished(0.01)
    metrics.commit_finished(1e9)
    found = samples(metrics)
    assert found["database_commit_duration_seconds_bucket", (("le", "0.01"),)] == 1
    assert found["database_commit_duration_seconds_bucket", (("le", "10.0"),)] == 1
    assert found["database_commit_duration_seconds_bucket", (("le", "+Inf"),)] == 2


def test_the_phases_of_a_call_are_kept_apart_and_a_refused_one_only_waited() -> None:
    metrics = Metrics()
    metrics.call_finished("m", 2, "ok", (0.25, 0.5, 1.0, 2.0))
    metrics.call_finished("m", 2, "overloaded", (5.0, 0.0, 0.0, 0.0))
    found = samples(metrics)
    sums = [
        found[f"{phase}_duration_seconds_sum", (("model", "m"),)]
        for phase in ("queue", "decode", "inference", "encode")
    ]
    assert sums == [5.25, 0.5, 1.0, 2.0]
    outcome = (("model", "m"), ("outcome", "overloaded"), ("version", "2"))
    assert found["inference_requests_total", outcome] == 1


def test_methods_that_clients_invent_share_one_label() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.request_finished(route="x", method=f"M{number}", status=405, seconds=0.0)
    labels = (("method", "other"), ("route", "x"), ("status", "405"))
    assert samples(metrics)["requests_total", labels] == 100


def test_label_values_are_bounded_whatever_comes() -> None:
    metrics = Metrics()
    for number in range(LABEL_SETS + 500):
        metrics.call_finished(f"m{number}", 1, "ok", (0.0, 0.0, 0.0, 0.0))
        metrics.server_event("cut", reason=f"r{number}")
    found = samples(metrics)
    assert found["http_connections_cut_total", (("reason", "other"),)] == 500
    assert found["queue_duration_seconds_count", (("model", "other"),)] == 500
    assert len({key for key in found if key[0] == "inference_requests_total"}) == LABEL_SETS + 1


def test_what_the_parts_tell_is_asked_at_each_scrape() -> None:
    metrics = Metrics()
    rows = [3.0]
    metrics.watch(lambda: {"database_queue_rows": rows[0], "backup_last_size_bytes": None})
    assert samples(metrics)["database_queue_rows", ()] == 3
    rows[0] = 4.0
    assert samples(metrics)["database_queue_rows", ()] == 4
    assert ("backup_last_size_bytes", ()) not in samples(metrics)


def test_a_part_that_fails_to_answer_does_not_hide_the_others() -> None:
    metrics = Metrics()
    metrics.watch(lambda: {"ready": 1 / 0})
    metrics.watch(lambda: {"no_such_metric": 1.0})
    metrics.watch(lambda: {"database_queue_rows": 1.0})
    found = samples(metrics)
    assert found["database_queue_rows", ()] == 1
    assert found["scrape_errors_total", ()] == 2


def test_the_connections_of_the_server_are_told() -> None:
    @dataclass
    class Now:
        open: int = 5
        waiting_inference: int = 2
        waiting_control: int = 1
        spooled_bytes: int = 77

    metrics = Metrics()
    metrics.watch_connections(Now)
    found = samples(metrics)
    assert found["http_connections", ()] == 5
    assert found["waiting", (("lane", "inference"),)] == 2
    assert found["spool_bytes", ()] == 77


def test_counts_of_many_threads_are_all_there() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.call_finished("m", 1, "ok", (0.001, 0.001, 0.001, 0.001))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics)["decode_duration_seconds_count", (("model", "m"),)] == 8000


def test_two_appliances_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.prediction_answered(is_recorded=True)
    assert samples(other)["predictions_recorded_total", ()] == 0


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=1.0.0, text/plain;q=0.5",
        "application/openmetrics-text; version=1e9.x",
        "application/openmetrics-text; version=\u00e9\r\nX: y",
    ],
)
def test_openmetrics_is_given_to_who_asks_and_the_header_repeats_nothing(accept: str) -> None:
    body, media_type = busy().exposition(accept)
    assert media_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert body.endswith(b"# EOF\n")


def test_plain_text_is_given_to_all_others() -> None:
    for accept in ("", "*/*", "text/html;;;=,,", "text/plain; version=9.9.9"):
        _, media_type = busy().exposition(accept)
        assert media_type == "text/plain; version=0.0.4; charset=utf-8"


def test_every_family_of_the_list_is_exposed_with_help_and_prefix() -> None:
    body, _ = busy().exposition()
    text = body.decode()
    for name in (*COUNTED, *WATCHED):
        assert f"# HELP {NAMESPACE}_{name} " in text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(name.startswith(f"{NAMESPACE}_") for name in names)


def test_promtool_finds_nothing_to_say() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    body, _ = busy().exposition()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
