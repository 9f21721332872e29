"""Convert a model of any format that is read to OpenVINO IR, and learn how it behaves.

Weights keep the precision they came with: nothing is halved in silence.
"""

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from appliance.errors import ModelInvalid, UnsupportedMedia
from appliance.host.network import first_words
from appliance.host.openvino_import import PrePostProcessor, ov
from appliance.library.import_format import Format
from appliance.library.model_facts import ModelFacts, TensorFacts, channels_of
from appliance.library.onnx_file import external_files, metadata_of
from appliance.library.source_files import Source
from appliance.library.tflite_file import Quantised, read_tflite
from appliance.library.versions import check_head

_MOST_TENSORS = 64
_MOST_ELEMENTS = 1 << 26
_NMS_WORDS = (
    "This TFLite model has its box suppression built in (TFLite_Detection_PostProcess), which"
    " OpenVINO cannot read. Export it without post-processing, or send the ONNX or SavedModel it"
    " was made from."
)
_QUANTISED = ("u8", "i8")
_NO_RULE = re.compile(r"No conversion rule found for operations?: *([\w:.,\- ]{1,200})")


def read_source(source: Source) -> "ov.Model":
    """Given the model among the files sent, return it read; raise ModelInvalid or UnsupportedMedia
    with what to do instead when OpenVINO cannot, or when it would read files elsewhere.
    """
    _check(source)
    path = source.model.parent if source.format is Format.SAVED_MODEL else _named(source)
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as fault:
        raise ModelInvalid(_unreadable(source, fault)) from None
    except MemoryError:
        raise ModelInvalid(_TOO_LARGE) from None
    _name_tensors(model)
    return model


def _check(source: Source) -> None:
    if source.format is Format.IR:
        check_head(source.model)
    elif source.format is Format.ONNX:
        _check_external(source.model)
    elif source.format is Format.TFLITE:
        refuse_own_operations(read_tflite(source.model).own_operations)
    elif source.format is Format.PADDLE and not source.model.with_suffix(".pdiparams").is_file():
        raise ModelInvalid("Send a Paddle model's .pdmodel and .pdiparams together, in one .zip.")


def refuse_own_operations(names: Collection[str]) -> None:
    """Given the own operations of a TFLite file, raise UnsupportedMedia for the suppression of
    boxes that TensorFlow's detectors have built in.
    """
    if "TFLite_Detection_PostProcess" in names:
        raise UnsupportedMedia(_NMS_WORDS)


def _check_external(path: Path) -> None:
    """Weights may lie in plain files beside the model, which were unpacked here, nowhere else."""
    for name in sorted(external_files(path)):
        beside = path.parent / name
        if "/" in name or "\\" in name or name in ("", ".", "..") or beside.is_symlink():
            raise ModelInvalid(
                f"The ONNX file wants weights from {name[:80]!r}, which is not beside it. Export"
                " it with its weights inside, or with them in files of the same folder."
            )
        if not beside.is_file():
            raise ModelInvalid(
                f"The ONNX file keeps weights in another file, {name[:80]!r}, which is not here."
                " Send both in one .zip, or export it with its weights inside."
            )


def _named(source: Source) -> Path:
    """Return the model under the ending by which OpenVINO tells formats; the files are our own."""
    suffix = {
        Format.IR: ".xml",
        Format.ONNX: ".onnx",
        Format.TFLITE: ".tflite",
        Format.GRAPH: ".pb",
        Format.PADDLE: ".pdmodel",
    }[source.format]
    path = source.model
    if path.suffix == suffix:
        return path
    named = path.with_name(f"{path.name}{suffix}")
    os.link(path, named)
    return named


_TOO_LARGE = (
    "The model needs more memory to convert than it may use (models.import_memory_bytes). Raise"
    " that, or convert it to OpenVINO IR elsewhere."
)


def _unreadable(source: Source, fault: Exception) -> str:
    words = first_words(fault).lstrip("- ")
    if "bad_alloc" in words or "bad alloc" in words:
        return _TOO_LARGE
    if source.format is Format.IR and ("opset" in words or "nsupported" in words):
        return (
            f"OpenVINO {ov.__version__.split('-')[0]} cannot read this IR, which may be of a newer"
            f" release: {words}. Convert the model again with this release."
        )
    if "greater than 2.0" in words:
        return (
            "This is a model of Paddle 1.x, which OpenVINO cannot read. Save it again with Paddle"
            " 2 or newer."
        )
    unknown = _NO_RULE.search(str(fault))
    if unknown:
        return (
            f"The model uses what OpenVINO {ov.__version__.split('-')[0]} has no counterpart for:"
            f" {unknown[1].strip()}. Export it without that: suppression of boxes, for one, may"
            " stay outside, where the appliance does it."
        )
    if "ncorrect weights" in words:
        return (
            "The .bin does not hold the weights that the .xml names: it is cut off, or another"
            " model's. Send both again, as they were written together."
        )
    if source.format is Format.IR and "offset" in words:
        return f"The .xml is cut off or damaged ({words}). Send the whole file again."
    return (
        f"OpenVINO cannot read this {source.format.spelling} model: {words}. If the file is whole,"
        " convert the model to OpenVINO IR or ONNX where it was trained, and send that."
    )


def _name_tensors(model: "ov.Model") -> None:
    """Give each input and output a name, by which manifests and clients know it."""
    if not (1 <= len(model.inputs) <= _MOST_TENSORS and 1 <= len(model.outputs) <= _MOST_TENSORS):
        raise ModelInvalid(
            f"The model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; from 1 to"
            f" {_MOST_TENSORS} of each are served."
        )
    taken: set[str] = set()
    for kind, ports in (("input", model.inputs), ("output", model.outputs)):
        for number, port in enumerate(ports):
            if not port.get_names():
                port.get_tensor().set_names({f"{kind}{number}" if number else kind})
            taken |= port.get_names()


def adapt(model: "ov.Model", source: Source, size: tuple[int, int] | None) -> "ov.Model":
    """Given a model and the picture's width and height where they are known, return it with that
    size fixed and with quantised outputs as real numbers. Raise ModelInvalid for absurd sizes.
    """
    if size is not None:
        _fix_size(model, size)
    for port in model.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            raise ModelInvalid(
                f"The input {port.get_any_name()!r} has no known number of dimensions. Export the"
                " model with a fixed shape."
            )
        elements = int(np.prod([float(side.get_length()) for side in shape if side.is_static]))
        if elements > _MOST_ELEMENTS:
            raise ModelInvalid(
                f"The input {port.get_any_name()!r} has {elements:,} values; at most"
                f" {_MOST_ELEMENTS:,} are served."
            )
    if source.format is Format.TFLITE:
        return _with_real_numbers(model, read_tflite(source.model).outputs)
    return model


def _fix_size(model: "ov.Model", size: tuple[int, int]) -> None:
    if len(model.inputs) != 1:
        return
    shape = model.inputs[0].get_partial_shape()
    layout = channels_of(_sizes(shape))
    if not layout or shape.is_static:
        return
    for letter, side in (("W", size[0]), ("H", size[1])):
        if shape[layout.index(letter)].is_dynamic:
            shape[layout.index(letter)] = side
    try:
        model.reshape(shape)
    except RuntimeError as fault:
        raise ModelInvalid(
            f"The model does not take pictures of {size[0]}x{size[1]}: {first_words(fault)}."
        ) from None


def _with_real_numbers(model: "ov.Model", quantised: tuple[Quantised, ...]) -> "ov.Model":
    """Append what turns stored bytes into numbers, and take pixels where bytes are signed."""
    by_name = {one.name: one for one in quantised}
    steps = PrePostProcessor(model)
    for position, port in enumerate(model.inputs):
        if port.get_element_type().get_type_name() == "i8" and channels_of(
            _sizes(port.get_partial_shape())
        ):
            entry = steps.input(position)
            entry.tensor().set_element_type(ov.Type.u8)
            entry.preprocess().convert_element_type(ov.Type.f32).mean(128.0)
    for position, port in enumerate(model.outputs):
        stored = next((by_name[name] for name in port.get_names() if name in by_name), None)
        if stored is not None and port.get_element_type().get_type_name() in _QUANTISED:
            steps.output(position).postprocess().custom(_dequantiser(stored))
    try:
        return steps.build()
    except RuntimeError as fault:
        raise ModelInvalid(
            f"The model's quantised tensors do not fit it: {first_words(fault)}."
        ) from None


def _dequantiser(stored: Quantised) -> Any:
    def real(output: Any) -> Any:
        ops = ov.opset13
        shifted = ops.subtract(ops.convert(output, "f32"), np.float32(stored.zero))
        return ops.multiply(shifted, np.float32(stored.scale)).output(0)

    return real


def save(model: "ov.Model", directory: Path) -> int:
    """Given a model, write model.xml and model.bin and return the size of the weights in bytes."""
    try:
        ov.save_model(model, directory / "model.xml", compress_to_fp16=False)
    except RuntimeError as fault:
        raise ModelInvalid(
            f"The converted model cannot be written: {first_words(fault)}."
        ) from None
    return (directory / "model.bin").stat().st_size


def facts_of(
    model: "ov.Model", source: Source, *, weights_bytes: int, metadata: Mapping[str, str]
) -> ModelFacts:
    """Given a converted model, return what it looks like and how it answers one trial."""
    answers = _trial(model)
    return ModelFacts(
        format=source.format.value,
        inputs=tuple(map(_tensor, model.inputs)),
        outputs=tuple(
            _tensor(port, answers[position] if answers else None)
            for position, port in enumerate(model.outputs)
        ),
        operations=len(model.get_ops()),
        weights_bytes=weights_bytes,
        metadata=dict(metadata),
        labels=read_tflite(source.model).labels if source.format is Format.TFLITE else (),
    )


def metadata_in(model: "ov.Model", source: Source) -> dict[str, str]:
    """Given a model and where it came from, return what its file says about it in words."""
    if source.format is Format.ONNX:
        return metadata_of(source.model)
    found: dict[str, str] = {}
    with contextlib.suppress(RuntimeError, AttributeError, TypeError):
        if model.has_rt_info(["model_info"]):
            for key, value in model.get_rt_info(["model_info"]).value.items():
                found[str(key)[:100]] = str(getattr(value, "value", value))[:1_000_000]
    return found


def _tensor(port: Any, answer: "np.ndarray[Any, Any] | None" = None) -> TensorFacts:
    described = TensorFacts(
        name=str(port.get_any_name()),
        type=port.get_element_type().get_type_name(),
        shape=_sizes(port.get_partial_shape()),
    )
    if answer is None or not answer.size or answer.dtype.kind not in "fiu":
        return described
    values = answer.astype(np.float64)
    if not np.isfinite(values).all():
        return described
    has_rows = values.ndim >= 2 and min(values.shape[-2:]) >= 5
    sums = values.sum(axis=-1) if values.ndim > 1 else values
    if values.ndim == 4:
        sums = values.sum(axis=(1, 2, 3))
    return TensorFacts(
        name=described.name,
        type=described.type,
        shape=described.shape,
        low=float(values.min()),
        high=float(values.max()),
        sums_to_one=bool(values.min() >= 0 and np.abs(sums - 1).max() < 0.05),
        column_boxes=_bounds(values[..., :4]) if values.shape[-1] >= 4 else None,
        column_scores=_bounds(values[..., 4:]) if values.shape[-1] > 4 else None,
        row_boxes=_bounds(values[..., :4, :]) if has_rows else None,
        row_scores=_bounds(values[..., 4:, :]) if has_rows else None,
    )


def _bounds(values: "np.ndarray[Any, Any]") -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _trial(model: "ov.Model") -> "list[np.ndarray[Any, Any]] | None":
    """Run the model once on noise; None where a size is open or it does not run."""
    trial = model.clone()
    try:
        for port in trial.inputs:
            shape = port.get_partial_shape()
            if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
                shape[0] = 1
                trial.reshape({port.get_any_name(): shape})
        if any(port.get_partial_shape().is_dynamic for port in trial.inputs):
            return None
        compiled = ov.Core().compile_model(trial, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        random = np.random.default_rng(0)
        noise = [_noise(port, random) for port in compiled.inputs]
        answers = compiled(noise)
        return [np.array(answers[port]) for port in compiled.outputs]
    except (RuntimeError, MemoryError, TypeError):
        return None


def _noise(port: Any, random: "np.random.Generator") -> "np.ndarray[Any, Any]":
    shape, kind = tuple(port.get_shape()), port.get_element_type()
    if kind == ov.Type.u8:
        return random.integers(0, 256, shape).astype(np.uint8)
    if kind.is_real():
        most = 255.0 if channels_of(shape) else 1.0
        return (random.random(shape) * most).astype(kind.to_dtype())
    return np.zeros(shape, kind.to_dtype())


def _sizes(shape: Any) -> tuple[int, ...]:
    if shape.rank.is_dynamic:
        return ()
    return tuple(size.get_length() if size.is_static else -1 for size in shape)
