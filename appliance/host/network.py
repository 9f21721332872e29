"""The one place that touches OpenVINO: load a version, compile it, run it.

Precision is f32 unless the manifest says otherwise: on CPUs with AVX512-BF16 or AMX the plugin
computes in bf16 by default and answers change (DECISIONS.md, "f32 unless a check passed").
"""

import contextlib
import logging
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from appliance.errors import InvalidInput, ModelInvalid
from appliance.host.bound_request import BoundRequest
from appliance.host.embedded_description import model_info_in
from appliance.host.openvino_import import ColorFormat, PrePostProcessor, ov
from appliance.host.plain_weights import with_plain_weights
from appliance.library.manifest import Input, Manifest
from appliance.library.versions import model_file

_log = logging.getLogger(__name__)
_PATH = re.compile(r'"?/[^\s"]+"?')
Arrays = Mapping[str, "np.ndarray[Any, Any]"]

#: Open Inference Protocol names of OpenVINO's element types.
DATATYPES = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "bf16": "BF16",
    "f32": "FP32",
    "f64": "FP64",
    "string": "BYTES",
}


class Compiled:
    """A compiled model with one inference request for each calling thread.

    Threads: `infer` may be called from any number of threads at once.
    """

    def __init__(
        self, compiled: "ov.CompiledModel", inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self.compiled = compiled  # what `host/jobs` measures by itself
        self._local = threading.local()
        self._tensors = tuple(outputs)
        self.inputs = dict(zip(inputs, compiled.inputs, strict=True))
        self.outputs = dict(zip(outputs, compiled.outputs, strict=True))

    def property(self, name: str) -> Any:
        """Given the name of one of OpenVINO's properties, return what was compiled with."""
        return self.compiled.get_property(name)

    def infer(self, arrays: Arrays) -> dict[str, "np.ndarray[Any, Any]"]:
        """Given an array for each input tensor, return an array for each output tensor by name.

        The arrays are valid until this thread's next call.
        """
        bound = getattr(self._local, "bound", None)
        if bound is None:
            bound = self._local.bound = BoundRequest(self.compiled, [*self.inputs], self._tensors)
        try:
            return bound.infer(arrays)
        except RuntimeError as fault:
            raise InvalidInput(f"The model refused these tensors: {first_words(fault)}.") from None

    def infer_many(self, requests: Sequence[Arrays]) -> list[dict[str, "np.ndarray[Any, Any]"]]:
        """Given several sets of inputs, run them side by side and return their outputs in order.

        The arrays are the caller's own. All streams work at once, which one thread alone could not
        keep busy. OpenVINO's AsyncInferQueue is not used: it never returns after a refused input.
        """
        pool = getattr(self._local, "pool", None)
        if pool is None:
            size = self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            pool = self._local.pool = [self.compiled.create_infer_request() for _ in range(size)]
        answers = []
        try:
            for number, arrays in enumerate(requests):
                if number >= len(pool):
                    answers.append(self._finished(pool[number % len(pool)]))
                pool[number % len(pool)].start_async(arrays, share_inputs=True)
            for number in range(len(answers), len(requests)):
                answers.append(self._finished(pool[number % len(pool)]))
        except BaseException as fault:
            del self._local.pool
            # Whatever went wrong with one, the others still use the caller's arrays.
            for request in pool[: len(requests)]:
                with contextlib.suppress(RuntimeError):
                    request.wait()
            if not isinstance(fault, RuntimeError):
                raise
            raise InvalidInput(f"The model refused these tensors: {first_words(fault)}.") from None
        return answers

    def _finished(self, request: Any) -> dict[str, "np.ndarray[Any, Any]"]:
        request.wait()
        return {
            name: request.get_output_tensor(position).data.copy()
            for position, name in enumerate(self._tensors)
        }


class Network:
    """One version of a model: compiled for its task, and on demand once more for raw tensors.

    A tensor goes by the name that the manifest uses for it, or else by the first of its names.
    Threads: any; the raw model is compiled once, under a lock.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        cache_directory: Path,
        threads: int,
        streams: int = 0,
    ) -> None:
        self._manifest = manifest
        self._threads = threads
        self._streams = streams or threads
        self._core = _core(cache_directory)
        self._path = model_file(directory)
        self._raw: Compiled | None = None
        self._raw_lock = threading.Lock()
        model = self._read()
        self.model_info = model_info_in(model)
        self._check_names(model)
        wanted = {one.tensor for one in manifest.inputs} | {one.tensor for one in manifest.outputs}
        self._input_names = [port_name(port, wanted) for port in model.inputs]
        self._output_names = [port_name(port, wanted) for port in model.outputs]
        self.raw_inputs = tuple(map(_description, self._input_names, model.inputs))
        self.raw_outputs = tuple(map(_description, self._output_names, model.outputs))
        self.task = self._compile(with_preprocessing(model, manifest))
        self.input_shapes = {name: _shape(port) for name, port in self.task.inputs.items()}
        self.output_shapes = {name: _shape(port) for name, port in self.task.outputs.items()}

    def raw(self) -> Compiled:
        """Return the model as its file has it: original tensors and types, batch 1.

        Raise ModelInvalid when it cannot be read or compiled any more.
        """
        with self._raw_lock:
            if self._raw is None:
                self._raw = self._compile(single_batch(self._read()))
            return self._raw

    def warm_up(self) -> None:
        """Run the task's model once on zeros, so that the first caller pays for no set-up."""
        zeros = {
            name: np.zeros(
                [max(1, size) for size in self.input_shapes[name]],
                port.get_element_type().to_dtype(),
            )
            for name, port in self.task.inputs.items()
        }
        try:
            self.task.infer(zeros)
        except InvalidInput as problem:
            raise ModelInvalid(f"The model does not run on zeros: {problem.detail}") from None

    def _read(self) -> "ov.Model":
        try:
            return with_plain_weights(self._core.read_model(self._path))
        except RuntimeError as fault:
            raise ModelInvalid(f"OpenVINO cannot read this model: {first_words(fault)}.") from None

    def _compile(self, model: "ov.Model") -> Compiled:
        settings: dict[str, Any] = {
            "NUM_STREAMS": str(self._streams),
            "INFERENCE_NUM_THREADS": str(self._threads),
            # The plugin would pin each stream to one core for the length of each inference: two
            # system calls, and a core that is free stays free while another one has two to serve.
            "ENABLE_CPU_PINNING": "NO",
        }
        if self._manifest.precision != "auto":
            settings["INFERENCE_PRECISION_HINT"] = self._manifest.precision
        try:
            compiled = self._core.compile_model(model, "CPU", settings)
        except RuntimeError as fault:
            raise ModelInvalid(
                f"OpenVINO cannot compile this model: {first_words(fault)}."
            ) from None
        return Compiled(compiled, self._input_names, self._output_names)

    def _check_names(self, model: "ov.Model") -> None:
        for kind, described, ports in (
            ("input", self._manifest.inputs, model.inputs),
            ("output", self._manifest.outputs, model.outputs),
        ):
            names = {name for port in ports for name in port.get_names()}
            for tensor in (item.tensor for item in described):
                if tensor not in names:
                    raise ModelInvalid(
                        f"The manifest names the {kind} {tensor!r}, but the model has only"
                        f" {', '.join(sorted(names)) or 'unnamed ones'}."
                    )


def _core(cache_directory: Path) -> "ov.Core":
    """Return OpenVINO with compiled models kept in the directory, or nowhere if it is no use."""
    core = ov.Core()
    try:
        core.set_property({"CACHE_DIR": str(cache_directory)})
    except RuntimeError as fault:
        _log.warning("compiled models are not cached", extra={"reason": first_words(fault)})
    return core


def first_words(fault: BaseException) -> str:
    """Given an OpenVINO error, return its last line, which holds the cause, without source paths.

    Paths of the model are left out too: clients read this.
    """
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    words = (useful or lines or [type(fault).__name__])[-1]
    return _PATH.sub("…", words)[:300].rstrip(".! ")


def is_picture(described: Input) -> bool:
    """Given an input of the manifest, return whether it takes pixels, which its layout says."""
    return {"H", "W", "C"} <= set(described.layout)


def port_name(port: Any, wanted: Collection[str]) -> str:
    """Given a port and the names that a manifest uses, return its name there, or its first."""
    names: set[str] = port.get_names()
    return next(iter(sorted(names & set(wanted))), None) or str(port.get_any_name())


def _shape(port: Any) -> list[int]:
    return [size.get_length() if size.is_static else -1 for size in port.get_partial_shape()]


def _description(name: str, port: Any) -> dict[str, Any]:
    kind = port.get_element_type().get_type_name()
    if kind not in DATATYPES:
        raise ModelInvalid(
            f"The tensor {name!r} has the element type {kind}, which is not served."
        )
    return {"name": name, "datatype": DATATYPES[kind], "shape": _shape(port)}


def single_batch(model: "ov.Model") -> "ov.Model":
    """Fix a variable first dimension at 1: static shapes run markedly faster on the CPU plugin."""
    shapes = {}
    for port in model.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
            shape[0] = 1
            shapes[port.get_any_name()] = shape
    if shapes:
        model.reshape(shapes)
    return model


def with_preprocessing(model: "ov.Model", manifest: Manifest) -> "ov.Model":
    """Given a model and its manifest, return it taking pixels as u8 NHWC RGB.

    Colour order, mean, scale and layout are done inside the graph. Raise ModelInvalid when the
    manifest does not fit.
    """
    pictures = [described for described in manifest.inputs if is_picture(described)]
    if not pictures:
        return model
    try:
        steps = PrePostProcessor(single_batch(model))
        for described in pictures:
            element_type = model.input(described.tensor).get_element_type()
            _prepare_picture(steps.input(described.tensor), described, element_type)
        return steps.build()
    except RuntimeError as fault:
        raise ModelInvalid(
            "The manifest's layout, color_order, mean or scale does not fit the model:"
            f" {first_words(fault)}."
        ) from None


def _prepare_picture(entry: Any, described: Input, element_type: "ov.Type") -> None:
    """Append the steps from pixels to the model's own input; mean and scale come in its order."""
    entry.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    entry.tensor().set_color_format(ColorFormat.RGB)
    entry.model().set_layout(ov.Layout(described.layout))
    steps = entry.preprocess()
    has_numbers = bool(described.mean or described.scale)
    if element_type != ov.Type.u8 or has_numbers or described.color_order == "GRAY":
        steps.convert_element_type(ov.Type.f32)
    if described.color_order != "RGB":
        steps.convert_color(getattr(ColorFormat, described.color_order))
    if described.mean:
        steps.mean(_one_or_all(described.mean))
    if described.scale:
        steps.scale(_one_or_all(described.scale))
    steps.convert_element_type(element_type)


def _one_or_all(values: Sequence[float]) -> Any:
    return values[0] if len(values) == 1 else list(values)
