"""GET /v1/models/{model}…: which versions answer, and which tensors they take and give."""

from typing import Any

import falcon
import msgspec

from appliance.engine.status import ModelStatus
from appliance.errors import ModelUnavailable, NotFound
from appliance.host.tensor_spec import TensorSpec
from appliance.web.dialects.open_inference_engine import Engine, tensors_of, visible
from appliance.web.dialects.tensorflow_serving_versions import found_status, not_found
from appliance.web.operation import Access, operation

#: TensorFlow's name of each type; source: tensorflow/core/framework/types.proto.
_TYPES = {
    "BOOL": "DT_BOOL",
    "UINT8": "DT_UINT8",
    "UINT16": "DT_UINT16",
    "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64",
    "INT8": "DT_INT8",
    "INT16": "DT_INT16",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
    "FP16": "DT_HALF",
    "BF16": "DT_BFLOAT16",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BYTES": "DT_STRING",
}
_STATES = {"ready": "AVAILABLE", "idle": "AVAILABLE", "starting": "LOADING"}
_METHOD = "tensorflow/serving/predict"


class ErrorStatus(msgspec.Struct, frozen=True):
    """Why a version is as it is."""

    error_code: str
    error_message: str


class VersionStatus(msgspec.Struct, frozen=True):
    """One version; END is one that is installed and does not answer."""

    version: str
    state: str
    status: ErrorStatus


class VersionStatuses(msgspec.Struct, frozen=True):
    """GET /v1/models/{model}."""

    model_version_status: tuple[VersionStatus, ...]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/models/{model}/metadata; `modelSpec` is OpenVINO Model Server's spelling."""

    model_spec: dict[str, str]
    modelSpec: dict[str, str]
    metadata: dict[str, Any]


class Models:
    """Models as TensorFlow Serving tells of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @operation(
        summary="State of a model's versions",
        access=Access.DEVICE,
        any_query=True,
        result=VersionStatuses,
        problems=(NotFound,),
        tag="TensorFlow Serving",
        dialect="tensorflow-serving",
    )
    def on_get(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        model_version: str | None = None,
        label: str | None = None,
    ) -> VersionStatuses:
        """Tell the state of one version, or of all that are installed."""
        caller = request.context.caller
        status = found_status(self._engine, caller, model, version=model_version, label=label)
        if model_version is not None or label is not None:
            return VersionStatuses((_state(status),))
        every = [one for one in self._engine.models() if one.name == model]
        if not every:
            raise not_found(self._engine, model)
        newest_first = sorted(every, key=lambda one: -one.version)
        return VersionStatuses(tuple(map(_state, newest_first)))

    @operation(
        summary="State of every model's versions (OpenVINO Model Server)",
        access=Access.DEVICE,
        any_query=True,
        result=dict[str, VersionStatuses],
        tag="TensorFlow Serving",
        dialect="tensorflow-serving",
    )
    def on_get_config(
        self, request: falcon.Request, response: falcon.Response
    ) -> dict[str, VersionStatuses]:
        """Tell the state of every version in the caller's scope."""
        named: dict[str, list[VersionStatus]] = {}
        for status in visible(self._engine, request.context.caller):
            named.setdefault(status.name, []).append(_state(status))
        return {name: VersionStatuses(tuple(states)) for name, states in named.items()}

    @operation(
        summary="Inputs and outputs of a model",
        access=Access.DEVICE,
        any_query=True,
        result=Metadata,
        problems=(NotFound, ModelUnavailable),
        tag="TensorFlow Serving",
        dialect="tensorflow-serving",
    )
    def on_get_metadata(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        model_version: str | None = None,
        label: str | None = None,
    ) -> Metadata:
        """Describe a model's tensors as a signature."""
        caller = request.context.caller
        status = found_status(self._engine, caller, model, version=model_version, label=label)
        if not status.inputs and not status.is_answering:
            raise ModelUnavailable(
                f"Model '{status.name}' version {status.version} is {status.state}, not ready."
            )
        return _metadata(status)


def _state(status: ModelStatus) -> VersionStatus:
    failed = status.state == "failed"
    return VersionStatus(
        version=str(status.version),
        state=_STATES.get(status.state, "END"),
        status=ErrorStatus("UNKNOWN" if failed else "OK", status.reason if failed else ""),
    )


def _metadata(status: ModelStatus) -> Metadata:
    inputs, outputs, _ = tensors_of(status)
    version = str(status.version)
    return Metadata(
        model_spec={"name": status.name, "signature_name": "", "version": version},
        modelSpec={"name": status.name, "signatureName": "", "version": version},
        metadata={
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {spec.name: _tensor(spec) for spec in inputs},
                        "outputs": {spec.name: _tensor(spec) for spec in outputs},
                        "method_name": _METHOD,
                    }
                },
                "signatureDef": {
                    "serving_default": {
                        "inputs": {spec.name: _camel_tensor(spec) for spec in inputs},
                        "outputs": {spec.name: _camel_tensor(spec) for spec in outputs},
                        "methodName": _METHOD,
                    }
                },
            }
        },
    )


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "dtype": _TYPES[spec.datatype],
        "tensor_shape": {"dim": _sizes(spec), "unknown_rank": False},
        "name": spec.name,
    }


def _camel_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "dtype": _TYPES[spec.datatype],
        "tensorShape": {"dim": _sizes(spec), "unknownRank": False},
        "name": spec.name,
    }


def _sizes(spec: TensorSpec) -> list[dict[str, str]]:
    return [{"size": str(size), "name": ""} for size in spec.shape]
