"""The Falcon app: every route on one screen."""

from collections.abc import Callable
from typing import Any

import falcon

from appliance.actions.read_input import InputReading
from appliance.actions.version_views import VersionViews
from appliance.config import Limits
from appliance.core import Appliance
from appliance.log import RequestLine
from appliance.web import problems
from appliance.web.dialects import (
    deepstack,
    modelship,
    modelship_jobs,
    open_inference,
    tensorflow_serving,
)
from appliance.web.dialects.guides import VehicleClassifier
from appliance.web.dialects.open_inference_sequences import Sequences
from appliance.web.dialects.steps_guide import StepsGuide
from appliance.web.dialects.tensor_history import TensorHistory
from appliance.web.dialects.tensor_relay import Relay
from appliance.web.middleware.access import AccessMiddleware, KeyInBody
from appliance.web.middleware.requests import Requests
from appliance.web.openapi import Route, document
from appliance.web.operation import offer_head
from appliance.web.resources.audit import AuditResource, AuditVerifyResource
from appliance.web.resources.backups import BackupCheckResource, BackupsResource
from appliance.web.resources.batch import Batch
from appliance.web.resources.dead_jobs import DeadJobResource, DeadJobs
from appliance.web.resources.documents import Documents
from appliance.web.resources.health import Operations
from appliance.web.resources.jobs import JobResource, JobsResource
from appliance.web.resources.keys import KeyResource, KeysResource
from appliance.web.resources.measurements import Measurements
from appliance.web.resources.model_imports import ModelImports
from appliance.web.resources.model_life import ModelLife
from appliance.web.resources.predict import Predict
from appliance.web.resources.prediction_input import PredictionInput
from appliance.web.resources.predictions import Predictions
from appliance.web.resources.settings import ReloadResource
from appliance.web.resources.streams import StreamResource, StreamsResource

SHAPES = problems.ErrorShapes(
    {
        open_inference.PREFIX: open_inference.error_body,
        deepstack.PREFIX: deepstack.error_body,
        modelship.PREFIX: modelship.error_body,
        tensorflow_serving.PREFIX: tensorflow_serving.error_body,
        tensorflow_serving.CONFIG_PATH: tensorflow_serving.error_body,
        "/v1/status": deepstack.error_body,
    }
)


def routes(parts: Appliance) -> list[Route]:
    """Given the assembled appliance, return all it serves, in the order of the documentation."""
    limits = parts.config.limits
    predict = Predict(parts.predictor, limits)
    views = VersionViews(
        parts.database, parts.places.models, is_activating=parts.library.is_activating
    )
    models = ModelImports(parts.engine, parts.library, parts.removal, views)
    predictions = Predictions(parts.database)
    operations = Operations(parts.health, parts.metrics.exposition)
    documents = Documents()
    relay = Relay(parts.engine, limits, TensorHistory(parts.predictor))
    table = [
        Route("/api/v1/models", models),
        Route("/api/v1/models/inspect", models, "inspect"),
        Route("/api/v1/models/{model}", models, "model"),
        Route("/api/v1/models/{model}/versions/{version}", models, "version"),
        Route("/api/v1/models/{model}/predict", predict),
        *_model_life(parts),
        Route("/api/v1/models/{model}/versions/{version}/predict", predict, "version"),
        Route("/api/v1/predictions", predictions),
        Route("/api/v1/predictions/{prediction_id}", predictions, "prediction"),
        Route("/api/v1/predictions/{prediction_id}/input", _prediction_input(parts)),
        Route("/api/v1/streams", StreamsResource(parts.streams)),
        Route("/api/v1/streams/{stream_id}", StreamResource(parts.streams, limits)),
        *_jobs(parts),
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
        *deepstack.routes(
            parts.engine,
            parts.predictor,
            parts.clock,
            limits=limits,
            settings=parts.config.dialects,
        ),
        *tensorflow_serving.routes(parts.engine, relay),
        *open_inference.routes(
            parts.engine,
            relay,
            Sequences(parts.streams),
            limits=limits,
            load=parts.model_changes.load,
            unload=parts.model_changes.unload,
        ),
    ]
    documents.describe(document(table))
    return table


def _prediction_input(parts: Appliance) -> PredictionInput:
    return PredictionInput(InputReading(parts.database, parts.clock, parts.inputs.files))


def _model_life(parts: Appliance) -> tuple[Route, ...]:
    """Return the routes that change and compare what answers."""
    life, model = ModelLife(parts.engine, parts.model_changes), "/api/v1/models/{model}"
    return (
        Route(f"{model}/versions/{{version}}/activate", life, "activate"),
        *(
            Route(f"{model}/{verb}", life, verb)
            for verb in ("rollback", "load", "unload", "traffic", "policy", "comparison")
        ),
    )


def _jobs(parts: Appliance) -> tuple[Route, ...]:
    jobs = parts.jobs.jobs
    job, settings = JobResource(jobs), parts.config.jobs
    measurements = Measurements(parts.jobs.measurements, jobs, settings)
    return (
        Route("/api/v1/models/{model}/batch", Batch(parts.jobs.batches, jobs, settings)),
        *(
            Route(f"/api/v1/models/{{model}}/{verb}", measurements, verb)
            for verb in ("evaluate", "quantise", "tune")
        ),
        Route("/api/v1/jobs", JobsResource(jobs)),
        Route("/api/v1/jobs/{job_id}", job),
        Route("/api/v1/jobs/{job_id}/retry", job, "retry"),
        Route("/api/v1/jobs/{job_id}/result", job, "result"),
        Route("/api/v1/jobs/{job_id}/result/{file_name:path}", job, "file"),
        Route("/api/v1/admin/dlq", DeadJobs(jobs)),
        Route("/api/v1/admin/dlq/{job_id}", DeadJobResource(jobs)),
    )


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
        *_modelship(parts),
    )


def _modelship(parts: Appliance) -> tuple[Route, ...]:
    settings = parts.config.dialects
    return (
        *modelship.routes(
            parts.engine, parts.predictor, limits=parts.config.limits, settings=settings
        ),
        *modelship_jobs.routes(
            parts.engine,
            parts.jobs.batches,
            parts.jobs.jobs,
            settings=settings,
            limits=parts.config.jobs,
        ),
    )


def _key_in_body(limits: Limits) -> KeyInBody:
    """Return what finds the key of clients that send it inside a form."""
    return lambda request: deepstack.key_in_form(request, most_bytes=limits.input_bytes)


def create_app(
    parts: Appliance, *, line: Callable[[RequestLine], None] | None = None
) -> "falcon.App[Any, Any]":
    """Given the assembled appliance and where request lines go, return the WSGI application."""
    table = routes(parts)
    suffixes = {route.path: route.suffix for route in table if route.suffix}
    app: falcon.App[Any, Any] = falcon.App(
        middleware=[
            Requests(parts.metrics, line, most_json_bytes=parts.config.limits.json_bytes),
            AccessMiddleware(parts.gate, suffixes, key_in_body=_key_in_body(parts.config.limits)),
        ]
    )
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    app.req_options.auto_parse_form_urlencoded = False
    SHAPES.install(app)
    for route in table:
        offer_head(route.resource, route.suffix)
        app.add_route(route.path, route.resource, suffix=route.suffix)
    return app
