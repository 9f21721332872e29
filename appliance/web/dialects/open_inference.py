"""The Open Inference Protocol V2 over REST: its route table and the shape of its errors.

Source: the protocol's text and Triton's extensions; where servers and clients disagree, the answer
is one that all of them accept (tests/web/dialects/test_open_inference.py says which).
"""

import msgspec

from appliance.config import Limits
from appliance.errors import Problem
from appliance.web.dialects.open_inference_engine import Engine
from appliance.web.dialects.open_inference_infer import Infer
from appliance.web.dialects.open_inference_models import Models
from appliance.web.dialects.open_inference_repository import ChangeModel, Repository
from appliance.web.dialects.open_inference_sequences import Sequences
from appliance.web.dialects.open_inference_server import Server
from appliance.web.dialects.open_inference_statistics import StatisticsOfModels
from appliance.web.dialects.tensor_relay import Inferred, Relay
from appliance.web.openapi import DialectError, Route

__all__ = ["PREFIX", "Inferred", "error_body", "routes"]

#: Every path of the dialect is this or below it.
PREFIX = "/v2"
_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"


def routes(
    engine: Engine,
    relay: Relay,
    sequences: Sequences,
    *,
    limits: Limits,
    load: ChangeModel,
    unload: ChangeModel,
) -> tuple[Route, ...]:
    """Given the engine and the actions behind it, return the dialect's route table.

    `relay` takes tensors to the engine and `sequences` to streams; `load` and `unload` change
    what is served.
    """
    server, infer = Server(engine), Infer(engine, relay, sequences)
    models = Models(engine, most_batch=limits.tensor_batch)
    statistics = StatisticsOfModels(engine)
    repository = Repository(engine, load=load, unload=unload)
    return (
        Route("/v2", server),
        Route("/v2/health/live", server, "live"),
        Route("/v2/health/ready", server, "ready"),
        Route("/v2/models", models, "list"),
        Route("/v2/models/stats", statistics),
        Route(_MODEL, models),
        Route(_MODEL + "/ready", models, "ready"),
        Route(_MODEL + "/config", models, "config"),
        Route(_MODEL + "/stats", statistics, "model"),
        Route(_MODEL + "/infer", infer),
        Route(_VERSION, models),
        Route(_VERSION + "/ready", models, "ready"),
        Route(_VERSION + "/config", models, "config"),
        Route(_VERSION + "/stats", statistics, "model"),
        Route(_VERSION + "/infer", infer),
        Route("/v2/repository/index", repository, "index"),
        Route("/v2/repository/models/{model}/load", repository, "load"),
        Route("/v2/repository/models/{model}/unload", repository, "unload"),
    )


def error_body(problem: Problem, request_id: str = "") -> tuple[int, str, bytes]:
    """Given a problem, return status, media type and body of its answer under /v2.

    The protocol knows only 400 for bad input, so 422 becomes that; clients parse the body of every
    status but 200, so it is never empty and always `{"error": text}`.
    """
    status = 400 if problem.status == 422 else problem.status
    text = problem.detail or problem.title
    return status, "application/json", msgspec.json.encode(DialectError(text))
