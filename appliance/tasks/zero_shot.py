"""Zero-shot classification: any labels, by how near their embeddings lie to that of the text.

Each label is put into a template, "This text is about sports.", and embedded as the texts are. Its
confidence is the softmax of the cosines times a scale: 20 is what the shipped embedding network
was trained with (the default of sentence-transformers' MultipleNegativesRankingLoss).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from appliance.errors import InvalidInput, ModelInvalid
from appliance.tasks.contract import Model, Turn
from appliance.tasks.image_classification import HeadPrediction, Listing, head_prediction
from appliance.tasks.texts import Texts, text_turn

if TYPE_CHECKING:
    import numpy as np

TEMPLATE = "This text is about {}."
_SCALE = 20.0
_HEAD = "labels"

Labels = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...],
    Meta(
        min_length=1,
        max_length=100,
        description="Any labels, with commas between them: which one the text is nearest to.",
    ),
]
Template = Annotated[
    str,
    Meta(
        max_length=300,
        description="The sentence each of `labels` is put into, where it has {}; the model's own"
        ' unless given, such as "This text is about {}."',
    ),
]


def zero_shot_turn(
    texts: Texts, model: Model, *, labels: Sequence[str], template: str | None
) -> Turn:
    """Given texts and labels, return the turn that embeds both; raise InvalidInput for a template
    without a place for the label.
    """
    wanted = tuple(dict.fromkeys(label.strip() for label in labels))
    if "" in wanted:
        raise InvalidInput("A label is empty.", pointer="/query/labels")
    sentence = template if template is not None else template_of(model)
    if "{}" not in sentence:
        raise InvalidInput(
            'The template must hold {} where the label goes, such as "This text is about {}.".',
            pointer="/query/template",
        )
    sentences = [sentence.replace("{}", label) for label in wanted]
    return text_turn(texts, model, labels=wanted, more=sentences)


def zero_shot_predictions(
    rows: "np.ndarray[Any, Any]", labels: Sequence[str], params: Listing, model: Model
) -> list[HeadPrediction]:
    """Given embeddings [texts + labels, dimensions], return what each text is nearest to."""
    import numpy as np

    values = rows.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is flagged below
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        units = values / np.maximum(lengths, 1e-12)
        cosines = units[: -len(labels)] @ units[-len(labels) :].T
    scores = cosines * _scale(model)
    return [head_prediction(_HEAD, row, "softmax", labels, params) for row in scores]


def template_of(model: Model) -> str:
    """Given a model, return the sentence its manifest puts labels into, or the usual one."""
    return str(model.manifest.settings.get("template", TEMPLATE))


def check_zero_shot(model: Model) -> None:
    """Given a model for any labels, raise ModelInvalid when its manifest's settings cannot be."""
    if "{}" not in template_of(model):
        raise ModelInvalid("settings.template of the manifest must hold {} for the label.")
    scale = model.manifest.settings.get("similarity_scale", _SCALE)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 1000:
        raise ModelInvalid("settings.similarity_scale of the manifest must be from 0 to 1000.")


def _scale(model: Model) -> float:
    return float(model.manifest.settings.get("similarity_scale", _SCALE))
