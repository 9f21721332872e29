"""Statistics of models."""

import msgspec
import tritonclient.http as triton

from appliance.web.dialects.open_inference_schemas import (
    StatisticsList,
)
from tests.web.dialects.open_inference_server import (
    Served,
    features,
    infer,
)


def test_statistics_count_rows_as_inferences_and_requests_as_executions(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    for rows in (1, 8):
        client.infer("scores", [features(rows)])
    infer(v2, b"{}")
    for found in (
        client.get_inference_statistics("scores"),
        client.get_inference_statistics("scores", "3"),
    ):
        (row,) = msgspec.convert(found, StatisticsList).model_stats
        assert (row.name, row.version) == ("scores", "3")
        assert (row.inference_count, row.execution_count) == (9, 2)
        stats = row.inference_stats
        assert (stats.success.count, stats.fail.count, stats.queue.count) == (2, 1, 2)
        assert stats.success.ns >= stats.compute_infer.ns > 0
        assert stats.cache_hit.count == 0
        assert row.last_inference > 1_600_000_000_000


def test_statistics_of_all_models_leave_out_those_that_are_not_served(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    v2.engine.states["add"] = ("stopped", "")
    rows = client.get_inference_statistics()["model_stats"]
    names = [row["name"] for row in rows]
    assert "scores" in names
    assert "add" not in names


def test_each_batch_size_has_its_own_times(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    for rows in (1, 8, 1):
        client.infer("scores", [features(rows)])
    (row,) = msgspec.convert(client.get_inference_statistics("scores"), StatisticsList).model_stats
    assert [(one.batch_size, one.compute_infer.count) for one in row.batch_stats] == [
        (1, 2),
        (8, 1),
    ]
    whole = row.inference_stats.compute_infer.ns
    assert sum(one.compute_infer.ns for one in row.batch_stats) == whole


def test_memory_is_that_of_the_versions_process(
    v2: Served, client: triton.InferenceServerClient
) -> None:
    (row,) = msgspec.convert(client.get_inference_statistics("scores"), StatisticsList).model_stats
    (memory,) = row.memory_usage
    assert (memory.type, memory.id) == ("CPU", 0)
    assert memory.byte_size > 1_000_000
