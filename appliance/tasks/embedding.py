"""Embedding: a text or a picture in, a vector out that lies near those of its like.

With `labels` a text model says instead which of them a text is nearest to.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.errors import InvalidInput, ModelInvalid
from appliance.tasks import pictures, zero_shot
from appliance.tasks import texts as text_inputs
from appliance.tasks.contract import Model, NoState, Payload, Turn
from appliance.tasks.image_classification import HeadPrediction
from appliance.tasks.picture_input import check_picture_input, decoded_picture
from appliance.tasks.text_classification import TextPrediction, answered

if TYPE_CHECKING:
    import numpy as np

    from appliance.tasks.contract import Tensors

#: A float32 of a usual embedding has no more digits than these; the rest would only cost bytes.
_DIGITS = 8


class EmbeddingParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller may choose."""

    normalise: Annotated[
        bool,
        Meta(description="Bring the vector to length 1, so that a dot product is a cosine."),
    ] = False
    crop: Annotated[
        tuple[int, int, int, int] | None,
        Meta(description="x,y,width,height: look at this part of the upright picture only."),
    ] = None
    labels: zero_shot.Labels | None = None
    template: zero_shot.Template | None = None
    top_k: Annotated[int, Meta(ge=1, le=1000, description="How many of `labels` to list.")] = 5
    min_confidence: Annotated[
        float, Meta(ge=0, le=1, description="Those of `labels` below it are left out.")
    ] = 0.0


class Embedding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The vector of one input, or those of a list of texts; with `labels`, the predictions."""

    embedding: tuple[float, ...] | UnsetType = UNSET
    embeddings: tuple[tuple[float, ...] | None, ...] | UnsetType = UNSET
    dimensions: int | UnsetType = UNSET
    tokens: int | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    texts: tuple[text_inputs.TextRead, ...] | UnsetType = UNSET
    predictions: tuple[HeadPrediction, ...] | UnsetType = UNSET
    results: tuple[TextPrediction, ...] | UnsetType = UNSET
    warning: str = ""


class Embedder:
    """See the module. Stateless."""

    name = "embedding"
    title = "Embedding"
    media_types = tuple(dict.fromkeys((*text_inputs.MEDIA_TYPES, *pictures.MEDIA_TYPES)))
    Params = EmbeddingParams
    Result = Embedding
    State = NoState

    def check(self, model: Model) -> None:
        """Raise ModelInvalid unless the model takes texts or a picture and has one output."""
        if text_inputs.takes_text(model):
            text_inputs.check_text_inputs(model, called="A text embedding model")
            zero_shot.check_zero_shot(model)
        else:
            check_picture_input(model, called="A picture embedding model")
        if len(model.manifest.outputs) != 1:
            raise ModelInvalid(
                "The manifest must name the one output that is the embedding in [[outputs]]; it"
                f" names {len(model.manifest.outputs)}."
            )

    def open(self, params: EmbeddingParams, model: Model) -> NoState:
        """Return the empty state."""
        return NoState()

    def decode(
        self, payload: Payload, params: EmbeddingParams, state: NoState, model: Model
    ) -> Turn:
        """Turn texts into tokens, or a picture into u8[1, height, width, 3]."""
        if not text_inputs.takes_text(model):
            return _picture_turn(payload, params, model)
        if params.crop is not None:
            raise InvalidInput("A text has no part to crop.", pointer="/query/crop")
        texts = text_inputs.read_texts(payload, model.limits)
        if params.labels is None:
            return text_inputs.text_turn(texts, model)
        return zero_shot.zero_shot_turn(
            texts, model, labels=params.labels, template=params.template
        )

    def encode(
        self,
        outputs: "list[Tensors]",
        turn: Turn,
        params: EmbeddingParams,
        state: NoState,
        model: Model,
    ) -> Embedding:
        """Turn the output into vectors, or into predictions where labels were given."""
        import numpy as np

        tensor = model.manifest.outputs[0].tensor
        reading: text_inputs.Reading | None = turn.context
        if reading is None:
            values = np.asarray(outputs[0][tensor]).reshape(1, -1)
            return _one(_vectors(values, params), int(values.shape[1]), UNSET)
        rows = text_inputs.rows_of(outputs, reading, tensor)
        if reading.labels:
            found = zero_shot.zero_shot_predictions(rows, reading.labels, params, model)
            plain = answered(reading, [(one,) for one in found])
            return Embedding(**msgspec.structs.asdict(plain))
        vectors, dimensions = _vectors(rows, params), int(rows.shape[1])
        if not reading.is_list:
            return _one(vectors, dimensions, reading.reads[0])
        return Embedding(
            embeddings=vectors,
            dimensions=dimensions,
            texts=reading.reads,
            warning=_NOT_FINITE if None in vectors else "",
        )

    def flush(self, params: EmbeddingParams, state: NoState, model: Model) -> Turn:
        """Return nothing: an input leaves nothing behind."""
        return Turn(inputs=[])

    def join(self, results: Sequence[Embedding]) -> Embedding:
        """Return the only result."""
        return results[0]

    def summary(self, result: Embedding) -> tuple[str | None, float | None]:
        """Return the nearest label and its confidence, where labels were given for one text."""
        if isinstance(result.predictions, UnsetType):
            return None, None
        return result.predictions[0].label, result.predictions[0].confidence


_NOT_FINITE = "The model answered with values that are not numbers: no embedding."


def _picture_turn(payload: Payload, params: EmbeddingParams, model: Model) -> Turn:
    if params.labels is not None:
        raise InvalidInput(
            "Labels can be given to a text model only; this one takes pictures.",
            pointer="/query/labels",
        )
    return Turn(inputs=[decoded_picture(payload, model, crop=params.crop)])


def _one(
    vectors: tuple[tuple[float, ...] | None, ...],
    dimensions: int,
    read: text_inputs.TextRead | UnsetType,
) -> Embedding:
    (vector,) = vectors
    return Embedding(
        embedding=UNSET if vector is None else vector,
        dimensions=dimensions,
        tokens=UNSET if isinstance(read, UnsetType) else read.tokens,
        truncated=UNSET if isinstance(read, UnsetType) else read.truncated,
        warning=_NOT_FINITE if vector is None else "",
    )


def _vectors(
    rows: "np.ndarray[Any, Any]", params: EmbeddingParams
) -> tuple[tuple[float, ...] | None, ...]:
    """Given rows [inputs, dimensions], return each as numbers, or None where it has others."""
    import numpy as np

    values = rows.astype(np.float64)
    is_finite = np.isfinite(values).all(axis=1)
    if params.normalise:
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.linalg.norm(values, axis=1, keepdims=True)
            values = values / np.maximum(lengths, 1e-12)
    rounded = np.round(values, _DIGITS).tolist()
    return tuple(
        tuple(row) if good else None for row, good in zip(rounded, is_finite, strict=True)
    )


TASK = Embedder()
