"""Image classification: a picture in, for every head of the model the most likely labels out."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from appliance.errors import ModelInvalid
from appliance.tasks import pictures
from appliance.tasks.contract import Model, NoState, Payload, Turn
from appliance.tasks.picture_input import check_picture_input, decoded_picture

if TYPE_CHECKING:
    import numpy as np

    from appliance.tasks.contract import Tensors


class Listing(Protocol):
    """What a caller may choose of the labels that are listed."""

    @property
    def top_k(self) -> int: ...

    @property
    def min_confidence(self) -> float: ...


class ClassificationParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller may choose."""

    top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many labels of each head to list.")
    ] = 5
    min_confidence: Annotated[
        float, Meta(ge=0, le=1, description="Labels below this confidence are left out.")
    ] = 0.0
    crop: Annotated[
        tuple[int, int, int, int] | None,
        Meta(description="x,y,width,height: look at this part of the upright picture only."),
    ] = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One label and how sure the model is of it."""

    label: str
    index: int
    confidence: float


class HeadPrediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one head says: its best label, or null when none reaches `min_confidence`."""

    head: str
    label: str | None
    confidence: float | None
    top: tuple[Candidate, ...]
    warning: str = ""


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction for every head of the model, in the order of its manifest."""

    predictions: tuple[HeadPrediction, ...]


class ImageClassification:
    """See the module. Stateless."""

    name = "image-classification"
    title = "Image classification"
    media_types = pictures.MEDIA_TYPES
    Params = ClassificationParams
    Result = Classification
    State = NoState

    def check(self, model: Model) -> None:
        """Raise ModelInvalid unless the model takes one colour picture and every head fits."""
        check_picture_input(model, called="An image classifier")
        check_heads(model)

    def open(self, params: ClassificationParams, model: Model) -> NoState:
        """Return the empty state."""
        return NoState()

    def decode(
        self, payload: Payload, params: ClassificationParams, state: NoState, model: Model
    ) -> Turn:
        """Turn a picture into u8[1, height, width, 3] for the model's only input."""
        return Turn(inputs=[decoded_picture(payload, model, crop=params.crop)])

    def encode(
        self,
        outputs: "list[Tensors]",
        turn: Turn,
        params: ClassificationParams,
        state: NoState,
        model: Model,
    ) -> Classification:
        """Turn each head's scores [1, classes] into its most likely labels."""
        predictions = []
        for head, output in zip(model.manifest.heads(), model.manifest.outputs, strict=True):
            scores = outputs[0][output.tensor].reshape(-1)
            predictions.append(
                head_prediction(
                    head, scores, output.activation, model.labels.get(head, ()), params
                )
            )
        return Classification(predictions=tuple(predictions))

    def flush(self, params: ClassificationParams, state: NoState, model: Model) -> Turn:
        """Return nothing: a picture leaves nothing behind."""
        return Turn(inputs=[])

    def join(self, results: Sequence[Classification]) -> Classification:
        """Return the only result."""
        return results[0]

    def summary(self, result: Classification) -> tuple[str | None, float | None]:
        """Return the first head's label and confidence."""
        first = result.predictions[0]
        return first.label, first.confidence


def check_heads(model: Model) -> None:
    """Given a classifier, raise ModelInvalid unless its heads have names and fitting labels."""
    heads = model.manifest.heads()
    if not heads:
        raise ModelInvalid("The manifest names no output: add one [[outputs]] for each head.")
    if len(set(heads)) != len(heads):
        raise ModelInvalid(f"The heads need different names; they are {', '.join(heads)}.")
    for head, output in zip(heads, model.manifest.outputs, strict=True):
        labels, shape = model.labels.get(head, ()), model.output_shapes.get(output.tensor, (-1,))
        if labels and min(shape, default=0) > 0 and math.prod(shape) != len(labels):
            raise ModelInvalid(
                f"Head {head!r} has {math.prod(shape)} classes, but {output.labels} names"
                f" {len(labels)}: every label after the first missing one would be wrong."
            )


def head_prediction(
    head: str,
    scores: "np.ndarray[Any, Any]",
    activation: str,
    labels: Sequence[str],
    params: Listing,
) -> HeadPrediction:
    """Given a head's scores [classes], return its most likely labels as the caller wants them."""
    import numpy as np

    if not np.isfinite(scores).all():
        return HeadPrediction(
            head=head,
            label=None,
            confidence=None,
            top=(),
            warning="The model answered with values that are not numbers: no prediction.",
        )
    confidences = activated(scores.astype(np.float64), activation)
    best = _surest(confidences, params.top_k)
    top = tuple(
        Candidate(
            label=labels[index] if index < len(labels) else f"class {index}",
            index=index,
            confidence=round(confidence, 6),
        )
        for index, confidence in zip(best.tolist(), confidences[best].tolist(), strict=True)
        if confidence >= params.min_confidence
    )
    first = top[0] if top else None
    return HeadPrediction(
        head=head,
        label=first.label if first else None,
        confidence=first.confidence if first else None,
        top=top,
    )


def _surest(confidences: "np.ndarray[Any, Any]", most: int) -> "np.ndarray[Any, Any]":
    """Given confidences [classes], return the indices of the greatest, those first that are first.

    Of many classes only those are sorted that can be among them.
    """
    import numpy as np

    if confidences.size <= 4 * most:
        return np.argsort(-confidences, kind="stable")[:most]
    least = np.partition(confidences, -most)[-most]
    chosen = (confidences >= least).nonzero()[0]
    return chosen[np.argsort(-confidences[chosen], kind="stable")[:most]]  # type: ignore[no-any-return]


def activated(scores: "np.ndarray[Any, Any]", activation: str) -> "np.ndarray[Any, Any]":
    """Given scores [classes] and the manifest's activation, return confidences [classes]."""
    import numpy as np

    if activation == "softmax":
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()  # type: ignore[no-any-return]
    if activation == "sigmoid":
        return 1.0 / (1.0 + np.exp(-np.clip(scores, -60, 60)))  # type: ignore[no-any-return]
    return scores


TASK = ImageClassification()
