"""Toy tensor models as numpy functions, and an engine that answers with them in this process."""

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from appliance.engine.status import Counters, ModelStatus
from appliance.errors import ModelInvalid, ModelUnavailable, NotFound, Problem, UnsupportedMedia
from appliance.host import tensorflow_serving
from appliance.host.open_inference import TensorModel, TensorSpec, answer

Arrays = Mapping[str, np.ndarray]
MOST_BATCH = 8
LABELS = ("bus", "car", "lorry", "truck", "van")


def _add(arrays: Arrays) -> Arrays:
    return {
        "sum": arrays["a"] + arrays["b"],
        "difference": arrays["a"] - arrays["b"],
    }


def _upper(arrays: Arrays) -> Arrays:
    upper = np.empty(arrays["text"].shape, object)
    upper[...] = [[element.upper() for element in row] for row in arrays["text"]]
    return {"upper": upper}


def _scores(arrays: Arrays) -> Arrays:
    with np.errstate(over="ignore"):
        return {"scores": arrays["features"] * np.float32(2)}


def _colour(arrays: Arrays) -> Arrays:
    return {"mean": arrays["image"].mean(axis=(1, 2), dtype=np.float32)}


def first_pixels(encoded: bytes) -> np.ndarray:
    """Stand in for a picture decoder: the first byte is every pixel, and 255 is no picture."""
    if encoded[:1] == b"\xff":
        raise UnsupportedMedia("This is not a picture.")
    return np.full((2, 2, 3), encoded[0] if encoded else 0, np.uint8)


def middle_pixel(pixels: np.ndarray) -> np.ndarray:
    """Stand in for resizing: the pixel in the middle is every pixel, as RGB."""
    height, width, _ = pixels.shape
    return np.full((2, 2, 3), pixels[height // 2, width // 2, ::-1], np.uint8)


def _model(name: str, inputs: Any, outputs: Any, infer: Any, **more: Any) -> TensorModel:
    return TensorModel(
        name=name,
        version=3,
        inputs=[TensorSpec(*one) for one in inputs],
        outputs=[TensorSpec(*one) for one in outputs],
        most_batch=MOST_BATCH,
        infer=infer,
        **more,
    )


def _mirror(arrays: Arrays) -> Arrays:
    return {f"{name}_out": array for name, array in arrays.items()}


_KINDS = (
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
)

ADD = _model(
    "add",
    [("a", "FP32", (1, 4)), ("b", "FP32", (1, 4))],
    [("sum", "FP32", (1, 4)), ("difference", "FP32", (1, 4))],
    _add,
)
UPPER = _model("upper", [("text", "BYTES", (-1, 1))], [("upper", "BYTES", (-1, 1))], _upper)
SCORES = _model(
    "scores",
    [("features", "FP32", (1, 5))],
    [("scores", "FP32", (1, 5))],
    _scores,
    labels={"scores": LABELS},
)
PICTURE = _model(
    "picture",
    [("image", "UINT8", (1, 2, 2, 3))],
    [("mean", "FP32", (1, 3))],
    _colour,
    decode_picture=first_pixels,
    place_pixels=middle_pixel,
)
MIRROR = _model(
    "mirror",
    [(kind, kind, (1, -1)) for kind in _KINDS],
    [(f"{kind}_out", kind, (1, -1)) for kind in _KINDS],
    _mirror,
)
ONE_OF_EACH = {
    kind: _model(
        f"mirror-{kind.lower()}",
        [("x", kind, (1, -1))],
        [("x_out", kind, (1, -1))],
        _mirror,
    )
    for kind in _KINDS
}
ALL = (ADD, UPPER, SCORES, PICTURE, MIRROR, *ONE_OF_EACH.values())


def _described(specs: Any) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs
    )


class InProcessEngine:
    """Does what the real engine does for this dialect, without processes."""

    def __init__(self, *models: TensorModel) -> None:
        self._models = {model.name: model for model in models}
        self._counters = {model.name: Counters() for model in models}
        self.states = {model.name: ("ready", "") for model in models}
        self.loaded: list[str] = []
        self.hides_tensors = False

    def models(self) -> list[ModelStatus]:
        return [self.status(name, None) for name in sorted(self._models)]

    def status(self, model: str, version: int | None) -> ModelStatus:
        found = self._found(model, version)
        state, reason = self.states[model]
        return ModelStatus(
            name=model,
            version=found.version,
            task="tensors",
            state=state,
            reason=reason,
            is_active=state != "stopped",
            inputs=() if self.hides_tensors else _described(found.inputs),
            outputs=() if self.hides_tensors else _described(found.outputs),
            labels={},
            model_info={"model_type": "Classification"},
            statistics=self._counters[model].statistics(),
            batches=self._counters[model].batches(),
            restarts=0,
            process_id=os.getpid(),
            load_seconds=0.1,
            canary_ok=None,
            canary_seconds=None,
            canary_age_seconds=None,
            in_flight=0,
        )

    def call(
        self,
        model: str,
        version: int | None,
        header: dict[str, Any],
        body: bytes | memoryview,
        *,
        waiting_since: float | None = None,
        sender: str = "",
    ) -> tuple[dict[str, Any], bytearray]:
        found = self._found(model, version)
        assert header["method"] == "infer"
        if self.states[model][0] != "ready":
            raise ModelUnavailable(f"{model} is {self.states[model][0]}.")
        try:
            speaks = tensorflow_serving.answer if "verb" in header else answer
            reply, answered = speaks(found, header, bytearray(body))
        except Problem:
            self._counters[model].failed(0.001)
            raise
        self._counters[model].succeeded(0.001, *reply["timing"], batch=reply["batch"])
        queue = time.monotonic() - waiting_since if waiting_since else 0.0
        reply |= {"model": model, "version": found.version, "task": "tensors", "queue": queue}
        return reply, bytearray(answered)

    def load(self, model: str) -> None:
        self._found(model, None)
        if model == "picture":
            raise ModelInvalid("picture@3: the weights are cut off.")
        self.loaded.append(model)
        self.states[model] = ("ready", "")

    def unload(self, model: str) -> None:
        self._found(model, None)
        self.states[model] = ("stopped", "")

    def _found(self, model: str, version: int | None) -> TensorModel:
        found = self._models.get(model)
        if found is None or version not in (None, found.version):
            raise NotFound(f"There is no model {model!r}.")
        return found
