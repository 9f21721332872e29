"""The text models as they are shipped, where the package with their encoder is at hand."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.actions.text_models import build_text_models
from appliance.host.hosted_model import HostedModel
from appliance.library import text_package
from appliance.library.versions import VersionDirectory
from tests.host.test_hosted_model import specification

REVIEWS = Path(__file__).parents[3] / "shared" / "data" / "text" / "reviews"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HostedModel]:
    given = os.environ.get("TEXT_PACKAGE")
    if not given and text_package.installed_folder() is None:
        pytest.skip(f"{text_package.PACKAGE} is not installed; TEXT_PACKAGE may name its .whl")
    target = tmp_path_factory.mktemp("text") / "models"
    target.mkdir()
    places = [
        VersionDirectory(directory.parent.name, 1, directory)
        for directory in build_text_models(Path(given) if given else None, target)
    ]
    return {place.model: HostedModel(specification(place)) for place in places}


def ask(model: HostedModel, *texts: str, **params: Any) -> Any:
    header = {"method": "predict", "params": params, "content_type": "application/json"}
    return json.loads(model.answer(header, bytearray(json.dumps({"texts": texts}).encode()))[1])


def test_they_load_and_pass_their_golden_samples(built: dict[str, HostedModel]) -> None:
    assert {name: len(model.samples) for name, model in built.items()} == {
        "sentiment": 4,
        "text-embedding": 2,
    }


def test_what_means_the_same_lies_close(built: dict[str, HostedModel]) -> None:
    import numpy as np

    found = ask(
        built["text-embedding"],
        "A man is playing the guitar.",
        "Somebody plays a guitar.",
        "The stock market fell sharply.",
        normalise=True,
    )
    same, other, _ = (np.array(found["embeddings"]) @ np.array(found["embeddings"]).T)[
        [0, 0, 1], [1, 2, 2]
    ]
    assert found["dimensions"] == 384
    assert same > 0.8
    assert other < 0.2


def test_any_labels_can_be_scored(built: dict[str, HostedModel]) -> None:
    found = ask(
        built["text-embedding"],
        "Parliament voted on the budget.",
        "Heavy rain and strong winds are expected.",
        labels=["sports", "politics", "weather"],
    )
    labels = [one["predictions"][0]["label"] for one in found["results"]]
    assert labels == ["politics", "weather"]


def test_long_texts_are_cut_and_told(built: dict[str, HostedModel]) -> None:
    found = ask(built["sentiment"], "good " * 1000, "good")
    assert [(one["tokens"], one["truncated"]) for one in found["results"]] == [
        (256, True),
        (3, False),
    ]


def test_sentiment_is_right_about_the_reviews_it_was_fitted_on(
    built: dict[str, HostedModel],
) -> None:
    """The numbers of the card are of sentences kept apart; this only finds a head mixed up."""
    if not REVIEWS.is_dir():
        pytest.skip("the reviews are not at hand")
    lines = (REVIEWS / "yelp_labelled.tsv").read_text("utf-8").split("\n")[:100]
    rows = [line.rpartition("\t")[::2] for line in lines]
    found = ask(built["sentiment"], *(text for text, _ in rows))["results"]
    right = [
        (one["predictions"][0]["label"] == "positive") == (label == "1")
        for one, (_, label) in zip(found, rows, strict=True)
    ]
    assert sum(right) >= 90
