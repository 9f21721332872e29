"""GET /v2/models…: which models there are, what goes in and comes out, whether they answer."""

import falcon

from appliance.engine.status import ModelStatus
from appliance.errors import ModelUnavailable, NotFound
from appliance.host.tensor_spec import TensorSpec
from appliance.web.dialects.open_inference_engine import (
    READY,
    Engine,
    status_for,
    tensors_of,
    visible,
)
from appliance.web.dialects.open_inference_schemas import (
    ConfigTensor,
    InstanceGroup,
    MetadataTensor,
    ModelConfig,
    ModelMetadata,
    ModelNames,
    ModelReady,
)
from appliance.web.operation import Access, operation

#: As OpenVINO Model Server says it; only for people to read.
PLATFORM = "OpenVINO"


class Models:
    """Models, each as its active version or as one named in the path.

    `most_batch` is the largest batch of a tensor request (limits.tensor_batch).
    """

    def __init__(self, engine: Engine, *, most_batch: int) -> None:
        self._engine = engine
        self._most_batch = most_batch

    @operation(
        summary="Names of the models",
        access=Access.DEVICE,
        any_query=True,
        result=ModelNames,
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get_list(self, request: falcon.Request, response: falcon.Response) -> ModelNames:
        """List the models in the caller's scope that are served."""
        statuses = visible(self._engine, request.context.caller)
        return ModelNames(tuple(sorted({status.name for status in statuses if status.is_active})))

    @operation(
        summary="Inputs and outputs of a model",
        access=Access.DEVICE,
        any_query=True,
        result=ModelMetadata,
        problems=(NotFound, ModelUnavailable),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str | None = None,
    ) -> ModelMetadata:
        """Describe a model's tensors."""
        status = self._described(request, model, version)
        inputs, outputs, _ = tensors_of(status)
        versions = [
            str(other.version)
            for other in self._engine.models()
            if other.name == status.name and other.is_answering
        ]
        return ModelMetadata(
            name=status.name,
            versions=tuple(versions),
            platform=PLATFORM,
            inputs=_metadata(inputs),
            outputs=_metadata(outputs),
            rt_info={"model_info": status.model_info},
        )

    @operation(
        summary="Whether a model answers",
        access=Access.DEVICE,
        any_query=True,
        result=ModelReady,
        problems=(NotFound, ModelUnavailable),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get_ready(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str | None = None,
    ) -> ModelReady:
        """Say that the model is ready, or raise ModelUnavailable with the reason."""
        status = status_for(self._engine, request.context.caller, model, version)
        if not status.is_answering:
            raise _not_ready(status)
        return ModelReady(name=status.name, ready=True)

    @operation(
        summary="Configuration of a model",
        access=Access.DEVICE,
        any_query=True,
        result=ModelConfig,
        problems=(NotFound, ModelUnavailable),
        tag="Open Inference Protocol",
        dialect="open-inference",
    )
    def on_get_config(
        self,
        request: falcon.Request,
        response: falcon.Response,
        *,
        model: str,
        version: str | None = None,
    ) -> ModelConfig:
        """Describe a model in the terms of Triton's ModelConfig."""
        status = self._described(request, model, version)
        inputs, outputs, has_batch = tensors_of(status)
        return ModelConfig(
            name=status.name,
            platform=PLATFORM,
            backend="openvino",
            version_policy={"specific": {"versions": (status.version,)}},
            max_batch_size=self._most_batch if has_batch else 0,
            input=_configured(inputs, has_batch),
            output=_configured(outputs, has_batch),
            instance_group=(InstanceGroup(name=status.name, kind="KIND_CPU", count=1),),
            parameters={"task": {"string_value": status.task}},
        )

    def _described(self, request: falcon.Request, model: str, version: str | None) -> ModelStatus:
        """Return a version whose tensors are known: its host has been ready at least once."""
        status = status_for(self._engine, request.context.caller, model, version)
        if not status.inputs and status.state != READY:
            raise _not_ready(status)
        return status


def _not_ready(status: ModelStatus) -> ModelUnavailable:
    because = f": {status.reason.rstrip('.')}" if status.reason else ""
    return ModelUnavailable(
        f"Model '{status.name}' version {status.version} is {status.state}, not ready{because}."
    )


def _metadata(specs: tuple[TensorSpec, ...]) -> tuple[MetadataTensor, ...]:
    return tuple(MetadataTensor(spec.name, spec.datatype, spec.shape) for spec in specs)


def _configured(specs: tuple[TensorSpec, ...], has_batch: bool) -> tuple[ConfigTensor, ...]:
    return tuple(
        ConfigTensor(
            name=spec.name,
            data_type="TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}",
            dims=spec.shape[1:] if has_batch else spec.shape,
        )
        for spec in specs
    )
