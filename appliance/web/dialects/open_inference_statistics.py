"""GET /v2/models/stats and below: how many inferences there were and where their time went."""

import falcon

from appliance.actions.health import resident_bytes
from appliance.engine.status import ModelStatus
from appliance.errors import NotFound
from appliance.web.dialects.open_inference_engine import STOPPED, Engine, status_for, visible
from appliance.web.dialects.open_inference_schemas import (
    BatchStatistics,
    Duration,
    InferenceStatistics,
    MemoryUsage,
    ModelStatistics,
    StatisticsList,
)
from appliance.web.operation import Access, operation

_NEVER = Duration(0, 0)


class StatisticsOfModels:
    """The statistics extension."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @operation(
        summary="Statistics of every served model",
        access=Access.DEVICE,
        any_query=True,
        result=StatisticsList,
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get(self, request: falcon.Request, response: falcon.Response) -> StatisticsList:
        """Return the statistics of every version in scope that is served."""
        statuses = visible(self._engine, request.context.caller)
        return _list([status for status in statuses if status.state != STOPPED])

    @operation(
        summary="Statistics of one model",
        access=Access.DEVICE,
        any_query=True,
        result=StatisticsList,
        problems=(NotFound,),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get_model(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str | None = None,
    ) -> StatisticsList:
        """Return the statistics of one version, or of every version of a model."""
        status = status_for(self._engine, request.context.caller, model, version)
        if version is not None:
            return _list([status])
        return _list([other for other in self._engine.models() if other.name == status.name])


def _list(statuses: list[ModelStatus]) -> StatisticsList:
    return StatisticsList(tuple(_row(status) for status in statuses))


def _row(status: ModelStatus) -> ModelStatistics:
    sums = status.statistics
    answered = sums.success_count
    return ModelStatistics(
        name=status.name,
        version=str(status.version),
        last_inference=sums.last_inference_ms,
        inference_count=sums.inference_count,
        execution_count=sums.execution_count,
        inference_stats=InferenceStatistics(
            success=Duration(answered, sums.success_ns),
            fail=Duration(sums.fail_count, sums.fail_ns),
            queue=Duration(answered, sums.queue_ns),
            compute_input=Duration(answered, sums.compute_input_ns),
            compute_infer=Duration(answered, sums.compute_infer_ns),
            compute_output=Duration(answered, sums.compute_output_ns),
            cache_hit=_NEVER,
            cache_miss=_NEVER,
        ),
        response_stats={},
        batch_stats=tuple(
            BatchStatistics(
                batch_size=one.batch_size,
                compute_input=Duration(one.count, one.compute_input_ns),
                compute_infer=Duration(one.count, one.compute_infer_ns),
                compute_output=Duration(one.count, one.compute_output_ns),
            )
            for one in status.batches
        ),
        memory_usage=_memory(status.process_id),
    )


def _memory(process_id: int | None) -> tuple[MemoryUsage, ...]:
    """Return what a version's process holds in memory; it may have ended a moment ago."""
    resident = resident_bytes(process_id)
    return () if resident is None else (MemoryUsage("CPU", 0, resident),)
