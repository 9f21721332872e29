"""Object detection: a picture in, the objects in it with their boxes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from appliance.errors import InvalidInput, ModelInvalid
from appliance.tasks import boxes as geometry
from appliance.tasks import drawing, pictures, tiling
from appliance.tasks.contract import Model, NoState, Payload, Turn
from appliance.tasks.detection_decoders import DECODERS, Decoder, Found, is_finite
from appliance.tasks.detection_shapes import Convention, DetectionSettings
from appliance.tasks.lettering import legible
from appliance.tasks.picture_input import check_picture_input, input_size
from appliance.tasks.placement import Edges, Placement, Size, part_of, place

if TYPE_CHECKING:
    from appliance.tasks.contract import Tensors

_NOT_NUMBERS = "The model answered with values that are not numbers: no objects."


class DetectionParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller may choose."""

    threshold: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Objects below this confidence are left out; else the"
                " model's own threshold, mostly 0.25.",
            ),
        ]
        | None
    ) = None
    iou: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Of two boxes of one class that overlap by more than"
                " this (intersection over union) only the surer one is told; else the model's"
                " own, mostly 0.45.",
            ),
        ]
        | None
    ) = None
    max_objects: Annotated[
        int, Meta(ge=1, le=1000, description="How many objects to list, the surest first.")
    ] = 100
    classes: Annotated[
        tuple[str, ...] | None,
        Meta(description="Labels, separated by commas: tell only objects of these."),
    ] = None
    tiles: (
        Annotated[
            str,
            Meta(
                pattern=r"^(auto|[1-8]x[1-8])$(?!\n)",
                description="Look at the picture in so many overlapping tiles too, such as 3x2"
                " (columns, rows), to find small objects; auto takes as many as its size asks"
                " for. Each tile costs as much time as a picture.",
            ),
        ]
        | None
    ) = None
    overlap: Annotated[
        float, Meta(ge=0, le=0.5, description="How much of a tile its neighbour sees too.")
    ] = 0.2
    crop: Annotated[
        tuple[int, int, int, int] | None,
        Meta(description="x,y,width,height: look at this part of the upright picture only."),
    ] = None


class Box(msgspec.Struct, frozen=True):
    """The corners of a box in pixels of the upright picture, from its left top corner."""

    x1: float
    y1: float
    x2: float
    y2: float


class DetectedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object, and how sure the model is of it."""

    label: str
    class_id: int
    confidence: float
    box: Box


class Detection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The objects, the surest first, and the size of the upright picture in pixels."""

    width: int
    height: int
    objects: tuple[DetectedObject, ...]
    warning: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What one inference looked at: the parts of the picture that each request holds, and of what
    they are parts; `full` is the size of the upright picture.
    """

    full: Size
    part: Edges
    placements: tuple[Placement, ...]


class ObjectDetection:
    """See the module. Stateless."""

    name = "object-detection"
    title = "Object detection"
    media_types = pictures.MEDIA_TYPES
    drawn_types = ("image/jpeg", "image/png")
    Params = DetectionParams
    Result = Detection
    State = NoState

    def check(self, model: Model) -> None:
        """Raise ModelInvalid unless the model takes a picture and its outputs can be decoded."""
        check_picture_input(model, called="A detector")
        outputs = model.manifest.outputs
        if not outputs or outputs[0].decoder not in DECODERS:
            told = repr(outputs[0].decoder) if outputs else "nothing"
            raise ModelInvalid(
                f"The first of [[outputs]] must say how it is decoded, one of"
                f" {', '.join(DECODERS)}; it says {told}."
            )
        decoder, convention = DECODERS[outputs[0].decoder], _convention(model)
        if len(outputs) not in decoder.outputs:
            raise ModelInvalid(
                f"A detector decoded as {outputs[0].decoder} has"
                f" {' or '.join(map(str, decoder.outputs))} [[outputs]], not {len(outputs)}."
            )
        if convention.activation not in decoder.activations:
            raise ModelInvalid(
                f"Scores of {outputs[0].decoder} can have the activation"
                f" {', '.join(decoder.activations)}, not {convention.activation}."
            )
        shapes = [model.output_shapes.get(output.tensor, ()) for output in outputs]
        fault = decoder.fault(shapes, convention) if all(shapes) else ""
        if fault:
            raise ModelInvalid(f"The output for the decoder {outputs[0].decoder} {fault}.")

    def open(self, params: DetectionParams, model: Model) -> NoState:
        """Return the empty state."""
        return NoState()

    def decode(
        self, payload: Payload, params: DetectionParams, state: NoState, model: Model
    ) -> Turn:
        """Turn a picture into u8[1, height, width, 3] for each part of it that is looked at."""
        tensor, target = input_size(model)
        described = model.manifest.inputs[0]
        _wanted_classes(params, model)  # refused before any work is done
        upright, full = pictures.upright_for(
            pictures.open_picture(payload, model.limits),
            lambda full: _needed(_view(full, params, model)),
        )
        view = _view(full, params, model)
        reduced_by = round(max(full) / max(upright.size))
        return Turn(
            inputs=[
                {
                    tensor: pictures.placed(
                        upright,
                        placement,
                        target,
                        pad_value=described.pad_value,
                        reduced_by=reduced_by,
                    )[None]
                }
                for placement in view.placements
            ],
            context=view,
        )

    def encode(
        self,
        outputs: "list[Tensors]",
        turn: Turn,
        params: DetectionParams,
        state: NoState,
        model: Model,
    ) -> Detection:
        """Turn what the model says of each part into objects on the picture."""
        view: View = turn.context
        tensors = [output.tensor for output in model.manifest.outputs]
        answers = [[one[tensor] for tensor in tensors] for one in outputs]
        width, height = view.full
        if not all(is_finite(array) for arrays in answers for array in arrays):
            return Detection(width=width, height=height, objects=(), warning=_NOT_NUMBERS)
        found = _found(answers, view, params, model)
        return Detection(width=width, height=height, objects=_objects(found, model))

    def flush(self, params: DetectionParams, state: NoState, model: Model) -> Turn:
        """Return nothing: a picture leaves nothing behind."""
        return Turn(inputs=[])

    def join(self, results: Sequence[Detection]) -> Detection:
        """Return the only result."""
        return results[0]

    def summary(self, result: Detection) -> tuple[str | None, float | None]:
        """Return the surest object's label and confidence."""
        first = result.objects[0] if result.objects else None
        return (first.label, first.confidence) if first else (None, None)

    def draw(self, payload: Payload, result: Detection, model: Model, media_type: str) -> bytes:
        """Return the upright picture with every box and label drawn on it, encoded."""
        upright = pictures.upright_rgb(pictures.open_picture(payload, model.limits))
        marks = [
            drawing.Mark(
                edges=(one.box.x1, one.box.y1, one.box.x2, one.box.y2),
                text=f"{legible(one.label, one.class_id)} {one.confidence:.0%}",
                colour=drawing.colour_of(one.class_id),
            )
            for one in result.objects
        ]
        return drawing.encoded(drawing.marked(upright, marks), media_type)


def _settings(model: Model) -> DetectionSettings:
    try:
        return msgspec.convert(model.manifest.settings, DetectionSettings)
    except msgspec.ValidationError as fault:
        raise ModelInvalid(f"[settings] of a detector are not valid: {fault}.") from None


def _labels(model: Model) -> Sequence[str]:
    """Return the labels of the first output that has some."""
    return next((labels for labels in map(model.labels.get, model.manifest.heads()) if labels), ())


def _convention(model: Model) -> Convention:
    _, (width, height) = input_size(model)
    return Convention(
        width=width,
        height=height,
        classes=len(_labels(model)),
        activation=model.manifest.outputs[0].activation,
        settings=_settings(model),
    )


def _decoder(model: Model) -> Decoder:
    return DECODERS[model.manifest.outputs[0].decoder]


def _wanted_classes(params: DetectionParams, model: Model) -> list[int] | None:
    """Return the classes asked for; raise InvalidInput naming one that the model has not."""
    if params.classes is None:
        return None
    known = {label.casefold(): index for index, label in enumerate(_labels(model))}
    wanted = []
    for number, name in enumerate(params.classes):
        index = known.get(name.strip().casefold())
        if index is None:
            some = ", ".join(list(_labels(model))[:20])
            raise InvalidInput(
                f"The model knows no class {name[:100]!r}. It knows: {some or 'none by name'}"
                f"{' …' if len(known) > 20 else ''}.",
                pointer=f"/query/classes/{number}",
            )
        wanted.append(index)
    return wanted


def _view(full: Size, params: DetectionParams, model: Model) -> View:
    _, target = input_size(model)
    described = model.manifest.inputs[0]
    part = part_of(full, params.crop)
    looked_at = [part]
    if params.tiles is not None:
        columns, rows = tiling.grid(
            params.tiles,
            part[2] - part[0],
            part[3] - part[1],
            target,
            most=_settings(model).most_tiles,
        )
        if columns * rows > 1:
            looked_at += tiling.tiles_of(part, columns, rows, params.overlap)
    placements = tuple(
        place(edges, target, resize=described.resize, pad_position=described.pad_position)
        for edges in looked_at
    )
    return View(full=full, part=part, placements=placements)


def _needed(view: View) -> Size:
    """Return the least size of the picture that has every pixel which some input takes."""
    across = max(placement.scale[0] for placement in view.placements)
    down = max(placement.scale[1] for placement in view.placements)
    return max(1, round(view.full[0] * across)), max(1, round(view.full[1] * down))


def _found(answers: "list[list[Any]]", view: View, params: DetectionParams, model: Model) -> Found:
    """Return each object once, the surest first, in pixels of the picture."""
    import numpy as np

    convention, decoder = _convention(model), _decoder(model)
    own = convention.settings
    threshold = own.threshold if params.threshold is None else params.threshold
    iou = own.iou if params.iou is None else params.iou
    wanted = _wanted_classes(params, model)
    parts, cuts = [], []
    for arrays, placement in zip(answers, view.placements, strict=True):
        found = decoder.decode(arrays, convention, threshold)
        if wanted is not None:
            found = _chosen(found, np.isin(found.classes, wanted))
        if decoder.is_distinct:
            order = np.argsort(-found.scores, kind="stable")[: params.max_objects]
        else:
            order = geometry.distinct(*found, iou=iou, most=params.max_objects)
        found = _chosen(found, order)
        on_picture = geometry.clipped(placement.to_picture(found.boxes), placement.source)
        found = _chosen(found._replace(boxes=on_picture), geometry.areas(on_picture) > 0)
        parts.append(found)
        cuts.append(tiling.fragments(found.boxes, placement.source, view.part))
    if len(parts) == 1:
        return parts[0]
    together = Found(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return tiling.merged(together, np.concatenate(cuts), iou=iou, most=params.max_objects)


def _chosen(found: Found, which: Any) -> Found:
    return Found(found.boxes[which], found.scores[which], found.classes[which])


def _objects(found: Found, model: Model) -> tuple[DetectedObject, ...]:
    labels = _labels(model)
    rows = zip(
        found.boxes.round(2).tolist(),
        found.scores.tolist(),
        found.classes.tolist(),
        strict=True,
    )
    return tuple(
        DetectedObject(
            label=labels[index] if 0 <= index < len(labels) else f"class {index}",
            class_id=index,
            confidence=round(score, 6),
            box=Box(*corners),
        )
        for corners, score, index in rows
    )


TASK = ObjectDetection()
