"""TensorFlow Serving's REST API: its route table, its versions and the shape of its errors.

Source: TensorFlow Serving, "RESTful API"; where OpenVINO Model Server spelt something otherwise,
`ovmsclient` reads that, so the answer has both spellings.
"""

import msgspec

from appliance.errors import Problem
from appliance.web.dialects.open_inference_engine import Engine
from appliance.web.dialects.tensor_relay import Relay
from appliance.web.dialects.tensorflow_serving_models import Models
from appliance.web.dialects.tensorflow_serving_predict import Tensors
from appliance.web.openapi import DialectError, Route

__all__ = ["CONFIG_PATH", "PREFIX", "error_body", "routes"]

PREFIX, CONFIG_PATH = "/v1/models", "/v1/config"
_PLACES = (
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{model_version}",
    "/v1/models/{model}/labels/{label}",
)


def routes(engine: Engine, relay: Relay) -> tuple[Route, ...]:
    """Given the engine and what takes tensors to it, return the dialect's route table."""
    models, tensors = Models(engine), Tensors(engine, relay)
    table = [Route(CONFIG_PATH, models, "config")]
    for place in _PLACES:
        table.append(Route(place, models))
        table.append(Route(place + "/metadata", models, "metadata"))
        for verb in ("predict", "classify", "regress"):
            table.append(Route(f"{place}:{verb}", tensors, verb))
    return tuple(table)


def error_body(problem: Problem, request_id: str = "") -> tuple[int, str, bytes]:
    """Given a problem, return status, media type and body of its answer; 422 is 400 here."""
    status = 400 if problem.status == 422 else problem.status
    text = problem.detail or problem.title
    return status, "application/json", msgspec.json.encode(DialectError(text))
