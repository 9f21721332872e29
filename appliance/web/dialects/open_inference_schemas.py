"""The JSON of the Open Inference Protocol V2, as the dialect answers it."""

from typing import Any

import msgspec


class ServerMetadata(msgspec.Struct, frozen=True):
    """GET /v2."""

    name: str
    version: str
    extensions: tuple[str, ...]


class ServerLive(msgspec.Struct, frozen=True):
    """GET /v2/health/live: KServe's client reads `live`, others only the status."""

    live: bool


class ServerReady(msgspec.Struct, frozen=True):
    """GET /v2/health/ready: the protocol's text says `live`, KServe's client reads `ready`."""

    live: bool
    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    """GET /v2/models/{model}/ready."""

    name: str
    ready: bool


class ModelNames(msgspec.Struct, frozen=True):
    """GET /v2/models, as KServe has it."""

    models: tuple[str, ...]


class MetadataTensor(msgspec.Struct, frozen=True):
    """One tensor; -1 in its shape is a size the caller chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """GET /v2/models/{model}."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[MetadataTensor, ...]
    outputs: tuple[MetadataTensor, ...]
    #: OpenVINO Model Server's addition; its adapter in openvino-model-api asks for it.
    rt_info: dict[str, dict[str, str]]


class ConfigTensor(msgspec.Struct, frozen=True):
    """One tensor of a configuration; `dims` leaves the batch out where there is one."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class InstanceGroup(msgspec.Struct, frozen=True):
    """How many copies of the model answer, and on what."""

    name: str
    kind: str
    count: int


class ModelConfig(msgspec.Struct, frozen=True):
    """GET /v2/models/{model}/config: Triton's ModelConfig, as far as it has a meaning here."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, dict[str, tuple[int, ...]]]
    max_batch_size: int
    input: tuple[ConfigTensor, ...]
    output: tuple[ConfigTensor, ...]
    instance_group: tuple[InstanceGroup, ...]
    parameters: dict[str, dict[str, str]]


class Duration(msgspec.Struct, frozen=True):
    """A number of events and the nanoseconds they took together."""

    count: int
    ns: int


class InferenceStatistics(msgspec.Struct, frozen=True):
    """Where the time of requests went."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(msgspec.Struct, frozen=True):
    """Where the time of requests of one batch size went."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class MemoryUsage(msgspec.Struct, frozen=True):
    """Memory of a version's own process."""

    type: str
    id: int
    byte_size: int


class ModelStatistics(msgspec.Struct, frozen=True):
    """One version; `last_inference` is milliseconds since 1970 UTC, or 0."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    response_stats: dict[str, Any]
    batch_stats: tuple[BatchStatistics, ...]
    memory_usage: tuple[MemoryUsage, ...]


class StatisticsList(msgspec.Struct, frozen=True):
    """GET /v2/models/stats."""

    model_stats: tuple[ModelStatistics, ...]


class RepositoryEntry(msgspec.Struct, frozen=True):
    """One installed version and whether it can answer."""

    name: str
    version: str
    state: str
    reason: str


class IndexRequest(msgspec.Struct, frozen=True):
    """POST /v2/repository/index."""

    ready: bool = False


class RepositoryRequest(msgspec.Struct, frozen=True):
    """POST /v2/repository/models/{model}/load and /unload."""

    parameters: dict[str, str | bool | float] = {}


class InferredTensor(msgspec.Struct, frozen=True):
    """One output; `data` is left out where its bytes follow the JSON part."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, str | float | bool] = {}
    data: tuple[Any, ...] = ()


class InferenceResponse(msgspec.Struct, frozen=True):
    """The JSON part of an inference's answer."""

    model_name: str
    model_version: str
    id: str
    outputs: tuple[InferredTensor, ...]


#: The body of an inference for the API document; the host checks it against the model.
INFERENCE_REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "maxLength": 256},
        "parameters": {"type": "object"},
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype"],
                "properties": {
                    "name": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "datatype": {"type": "string"},
                    "parameters": {"type": "object"},
                    "data": {"type": "array"},
                },
            },
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
            },
        },
    },
}
