"""The Falcon app: every route on one screen."""

from collections.abc import Callable
from typing import Any

import falcon

from appliance.actions.predict import Predictor, TensorTurn
from appliance.core import Appliance
from appliance.log import RequestLine
from appliance.web import problems
from appliance.web.dialects import open_inference
from appliance.web.dialects.guides import VehicleClassifier
from appliance.web.dialects.steps_guide import StepsGuide
from appliance.web.middleware.access import AccessMiddleware
from appliance.web.middleware.requests import Requests
from appliance.web.openapi import Route, document
from appliance.web.resources.audit import AuditResource, AuditVerifyResource
from appliance.web.resources.backups import BackupCheckResource, BackupsResource
from appliance.web.resources.documents import Documents
from appliance.web.resources.health import Operations
from appliance.web.resources.keys import KeyResource, KeysResource
from appliance.web.resources.models import Models
from appliance.web.resources.predict import Predict
from appliance.web.resources.predictions import Predictions
from appliance.web.resources.settings import ReloadResource
from appliance.web.resources.streams import StreamResource, StreamsResource

SHAPES = problems.ErrorShapes({"/v2": open_inference.error_body})


def routes(parts: Appliance) -> list[Route]:
    """Given the assembled appliance, return all it serves, in the order of the documentation."""
    limits = parts.config.limits
    predict = Predict(parts.predictor, limits)
    models = Models(parts.engine)
    predictions = Predictions(parts.database)
    operations = Operations(parts.health, parts.metrics.exposition)
    documents = Documents()
    table = [
        Route("/api/v1/models", models),
        Route("/api/v1/models/{model}", models, "model"),
        Route("/api/v1/models/{model}/predict", predict),
        Route("/api/v1/models/{model}/versions/{version}/predict", predict, "version"),
        Route("/api/v1/predictions", predictions),
        Route("/api/v1/predictions/{prediction_id}", predictions, "prediction"),
        Route("/api/v1/streams", StreamsResource(parts.streams)),
        Route("/api/v1/streams/{stream_id}", StreamResource(parts.streams, limits)),
        Route("/api/v1/keys", KeysResource(parts.key_ring)),
        Route("/api/v1/keys/{key_id}", KeyResource(parts.key_ring)),
        Route("/api/v1/audit", AuditResource(parts.database)),
        Route("/api/v1/audit/verify", AuditVerifyResource(parts.database)),
        Route("/api/v1/backups", BackupsResource(parts.backups)),
        Route("/api/v1/backups/{backup_name}", BackupCheckResource(parts.backups)),
        Route("/api/v1/settings/reload", ReloadResource(parts.reload)),
        Route("/live", operations, "live"),
        Route("/health/live", operations, "live"),
        Route("/ready", operations, "ready"),
        Route("/health/ready", operations, "ready"),
        Route("/health", operations, "health"),
        Route("/health/detailed", operations, "health"),
        Route("/metrics", operations, "metrics"),
        Route("/health/metrics", operations, "metrics"),
        Route("/openapi.json", documents, "openapi"),
        Route("/docs", documents, "docs"),
        Route("/docs/{file_name}", documents, "file"),
        Route("/problems/{slug}", documents, "problem"),
        *_guides(parts),
        *open_inference.routes(
            parts.engine,
            limits=limits,
            record=tensor_recorder(parts.predictor),
            load=parts.model_changes.load,
            unload=parts.model_changes.unload,
        ),
    ]
    documents.describe(document(table))
    return table


def _guides(parts: Appliance) -> tuple[Route, ...]:
    """Return the routes of the systems that the appliance replaces."""
    vehicles = VehicleClassifier(parts.predictor, parts.config.limits, parts.clock)
    steps = StepsGuide(parts.streams, parts.engine, parts.clock)
    return (
        Route("/api/vehicle/classify", vehicles),
        Route("/detect_step", steps, "detect"),
        Route("/step_count", steps, "count"),
        Route("/reset_count", steps, "reset"),
        Route("/session_summary", steps, "summary"),
        Route("/model_info", steps, "model"),
    )


def tensor_recorder(predictor: Predictor) -> Callable[[open_inference.Inferred], None]:
    """Given the predictor, return what records an answered tensor request in the history."""

    def record(inferred: open_inference.Inferred) -> None:
        predictor.record_tensors(
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

    return record


def create_app(
    parts: Appliance, *, line: Callable[[RequestLine], None] | None = None
) -> "falcon.App[Any, Any]":
    """Given the assembled appliance and where request lines go, return the WSGI application."""
    table = routes(parts)
    suffixes = {route.path: route.suffix for route in table if route.suffix}
    app: falcon.App[Any, Any] = falcon.App(
        middleware=[Requests(parts.metrics, line), AccessMiddleware(parts.gate, suffixes)]
    )
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    app.req_options.auto_parse_form_urlencoded = False
    SHAPES.install(app)
    for route in table:
        app.add_route(route.path, route.resource, suffix=route.suffix)
    return app
