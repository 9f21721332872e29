"""Text classification: texts in, for every head of the model the most likely labels out.

A model whose output is an embedding (`decoder = "embedding"` in its manifest) has no labels of its
own: the caller names them with `labels`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.errors import InvalidInput, ModelInvalid
from appliance.tasks import texts as text_inputs
from appliance.tasks import zero_shot
from appliance.tasks.contract import Model, NoState, Payload, Turn
from appliance.tasks.image_classification import HeadPrediction, check_heads, head_prediction

if TYPE_CHECKING:
    from appliance.tasks.contract import Tensors

_EMBEDDING = "embedding"


class TextParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller may choose."""

    top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many labels of each head to list.")
    ] = 5
    min_confidence: Annotated[
        float, Meta(ge=0, le=1, description="Labels below this confidence are left out.")
    ] = 0.0
    labels: zero_shot.Labels | None = None
    template: zero_shot.Template | None = None


class TextPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """What each head says of one text, and how much of it was read."""

    predictions: tuple[HeadPrediction, ...]
    tokens: int
    truncated: bool


class TextClassification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One text: its predictions, in the order of the manifest's heads. A list: `results`."""

    predictions: tuple[HeadPrediction, ...] | UnsetType = UNSET
    tokens: int | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    results: tuple[TextPrediction, ...] | UnsetType = UNSET


class TextClassifier:
    """See the module. Stateless."""

    name = "text-classification"
    title = "Text classification"
    media_types = text_inputs.MEDIA_TYPES
    Params = TextParams
    Result = TextClassification
    State = NoState

    def check(self, model: Model) -> None:
        """Raise ModelInvalid unless the model takes texts and every head fits."""
        text_inputs.check_text_inputs(model, called="A text classifier")
        check_heads(model)
        if _is_embedding(model):
            zero_shot.check_zero_shot(model)
            return
        heads = zip(model.manifest.heads(), model.manifest.outputs, strict=True)
        for head, output in heads:
            labels = model.labels.get(head, ())
            shape = model.output_shapes.get(output.tensor, ())
            if labels and shape and shape[-1] > 0 and shape[-1] != len(labels):
                raise ModelInvalid(
                    f"Head {head!r} has {shape[-1]} classes, but {output.labels} names"
                    f" {len(labels)}: every label after the first missing one would be wrong."
                )

    def open(self, params: TextParams, model: Model) -> NoState:
        """Return the empty state."""
        return NoState()

    def decode(self, payload: Payload, params: TextParams, state: NoState, model: Model) -> Turn:
        """Turn texts into tokens, texts of like length together."""
        texts = text_inputs.read_texts(payload, model.limits)
        if params.labels is None:
            if _is_embedding(model):
                raise InvalidInput(
                    "This model knows no labels of its own: name some, such as"
                    " ?labels=sports,politics.",
                    pointer="/query/labels",
                )
            return text_inputs.text_turn(texts, model)
        if not _is_embedding(model):
            raise InvalidInput(
                "This model has labels of its own and cannot take others. Ask an embedding model,"
                " such as text-embedding, or leave out `labels`.",
                pointer="/query/labels",
            )
        return zero_shot.zero_shot_turn(
            texts, model, labels=params.labels, template=params.template
        )

    def encode(
        self,
        outputs: "list[Tensors]",
        turn: Turn,
        params: TextParams,
        state: NoState,
        model: Model,
    ) -> TextClassification:
        """Turn each head's scores into its most likely labels, text by text."""
        reading: text_inputs.Reading = turn.context
        by_head: list[list[HeadPrediction]] = []
        for head, output in zip(model.manifest.heads(), model.manifest.outputs, strict=True):
            rows = text_inputs.rows_of(outputs, reading, output.tensor)
            if reading.labels:
                found = zero_shot.zero_shot_predictions(rows, reading.labels, params, model)
            else:
                labels, kind = model.labels.get(head, ()), output.activation
                found = [head_prediction(head, row, kind, labels, params) for row in rows]
            by_head.append(found)
        return answered(reading, [*zip(*by_head, strict=True)])

    def flush(self, params: TextParams, state: NoState, model: Model) -> Turn:
        """Return nothing: a text leaves nothing behind."""
        return Turn(inputs=[])

    def join(self, results: Sequence[TextClassification]) -> TextClassification:
        """Return the only result."""
        return results[0]

    def summary(self, result: TextClassification) -> tuple[str | None, float | None]:
        """Return the first head's label and confidence, where there was one text."""
        if isinstance(result.predictions, UnsetType):
            return None, None
        return result.predictions[0].label, result.predictions[0].confidence


def answered(
    reading: text_inputs.Reading, predictions: Sequence[tuple[HeadPrediction, ...]]
) -> TextClassification:
    """Given what was read and the predictions of each text, return the answer."""
    if not reading.is_list:
        (read,) = reading.reads
        return TextClassification(
            predictions=predictions[0], tokens=read.tokens, truncated=read.truncated
        )
    return TextClassification(
        results=tuple(
            TextPrediction(predictions=found, tokens=read.tokens, truncated=read.truncated)
            for found, read in zip(predictions, reading.reads, strict=True)
        )
    )


def _is_embedding(model: Model) -> bool:
    return any(output.decoder == _EMBEDDING for output in model.manifest.outputs)


TASK = TextClassifier()
