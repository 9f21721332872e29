"""The history of tensor requests: of their tensors it keeps only that they were."""

from appliance.actions.predict import Predictor, TensorTurn
from appliance.web.dialects.tensor_relay import Inferred


class TensorHistory:
    """Records answered tensor requests as `[history]` says. Threads: any."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def require_recordable(self) -> None:
        """Raise InsufficientStorage where every request must be recorded and none can be."""
        self._predictor.require_recordable()

    def record(self, inferred: Inferred) -> None:
        """Record an answered request; raise InsufficientStorage where it must be and was not."""
        self._predictor.record_tensors(
            TensorTurn(
                caller=inferred.caller,
                model=inferred.model,
                version=inferred.version,
                task=inferred.task,
                request_id=inferred.request_id,
                inference_id=inferred.inference_id,
                content_type=inferred.content_type,
                input_bytes=inferred.input_bytes,
                duration_ms=inferred.timing.total_ms,
            )
        )
