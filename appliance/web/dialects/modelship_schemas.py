"""The JSON of ModelShip's routes, as the dialect answers it; confidences of labels are percent."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class ImageReply(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/classify/image."""

    classification_id: str
    predicted_label: str
    confidence: float
    processing_time: float
    model_used: str
    status: str = "success"
    metadata: dict[str, Any]


class BoundingBox(msgspec.Struct, frozen=True, kw_only=True):
    """A box in pixels of the upright picture."""

    x1: int
    y1: int
    x2: int
    y2: int
    center_x: int
    center_y: int
    width: int
    height: int


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """One object; its quality is its confidence, as nothing else is known of it."""

    class_name: str
    class_id: int
    confidence: float
    quality_score: float
    quality_level: str
    bbox: BoundingBox
    is_high_quality: bool
    sahi_detected: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the objects of a picture come to."""

    unique_classes: int
    class_distribution: dict[str, int]
    average_confidence: float
    max_confidence: float
    min_confidence: float
    high_quality_detections: int


class DetectReply(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/classify/image/detect."""

    detection_id: str
    project_id: str | None
    filename: str
    status: str = "success"
    message: str = "Object detection completed successfully"
    total_objects_detected: int
    detections: tuple[Detection, ...]
    summary: Summary
    slice_configuration: dict[str, Any] | None
    processing_time: float
    model_used: str
    image_dimensions: dict[str, int]
    confidence_threshold: float
    annotated_image_path: None = None


class TextReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """POST /api/classify/text."""

    classification_id: str
    predicted_label: str
    confidence: float
    processing_time: float
    status: str
    classification_type: str
    model_used: str
    metadata: dict[str, Any] | None = None
    all_predictions: tuple[dict[str, Any], ...] | None = None


class ModelsReply(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/classify/models."""

    classification_models: dict[str, dict[str, Any]]
    object_detection_models: dict[str, dict[str, Any]]
    text_models: dict[str, dict[str, Any]]
    service_status: str = "operational"


class BatchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch consists of."""

    job_type: Annotated[
        str, Meta(pattern="^(image|text)$", description="image, or text: one file, one text.")
    ] = "image"


class BatchReply(msgspec.Struct, frozen=True, kw_only=True):
    """POST /api/classify/batch."""

    job_id: str
    status: str
    total_items: int
    message: str


class JobReply(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/classify/jobs/{job_id}."""

    job_id: str
    status: str
    job_type: str
    total_items: int
    completed_items: int
    progress_percentage: float
    created_at: str
    completed_at: str | None
    error_message: str | None


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    offset: Annotated[int, Meta(ge=0, le=900)] = 0


class JobsReply(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/classify/jobs."""

    jobs: tuple[JobReply, ...]
    total_count: int
    limit: int
    offset: int


class ResultsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which results of a job."""

    include_errors: bool = False
    confidence_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file; `detections` where objects were looked for."""

    result_id: str
    filename: str
    predicted_label: str | None
    confidence: float
    processing_time: float
    status: str
    error_message: str | None
    reviewed: bool = False
    ground_truth: str | None = None
    detections: tuple[Detection, ...] | msgspec.UnsetType = msgspec.UNSET


class ResultsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's results come to."""

    total_results: int
    successful_results: int
    failed_results: int
    average_confidence: float
    average_processing_time: float


class ResultsReply(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/classify/results/{job_id}."""

    job_id: str
    job_status: str
    results: tuple[Result, ...]
    summary: ResultsSummary
    filters_applied: dict[str, Any]
