import io
import random

import pytest
from PIL import Image

from appliance.host.jobs import charts
from appliance.host.jobs.charts import Bar
from appliance.host.jobs.classification_metrics import calibration, score
from tests.measure_parts import a_score


@pytest.fixture(autouse=True)
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are larger than the pictures that tests of decoders allow in the same process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


@pytest.mark.parametrize("classes", [1, 2, 12, 200])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes(classes: int) -> None:
    dice = random.Random(classes)
    truths = [dice.randrange(classes) for _ in range(500)]
    said = [truth if dice.random() < 0.7 else dice.randrange(-1, classes) for truth in truths]
    names = [f"a rather long name of class {number}" for number in range(classes)]
    width, height = size(charts.confusion_chart(score(truths, said, labels=names)))
    assert 500 <= width < 1200
    assert 200 <= height < 1200


def test_only_what_is_wrong_is_red() -> None:
    right = Image.open(
        io.BytesIO(charts.confusion_chart(score([0, 1], [0, 1], labels=["a", "b"])))
    )
    wrong = Image.open(io.BytesIO(charts.confusion_chart(a_score())))

    def redness(picture: Image.Image) -> int:
        return sum(
            count
            for count, (red, green, _) in picture.convert("RGB").getcolors(1 << 20) or ()
            if red > green + 60
        )

    assert redness(right) == 0
    assert redness(wrong) > 100


@pytest.mark.parametrize("count", [1, 400])
def test_a_reliability_diagram_is_drawn(count: int) -> None:
    dice = random.Random(count)
    sure = [dice.random() for _ in range(count)]
    found = calibration(sure, [dice.random() < one for one in sure])
    assert found is not None
    assert size(charts.reliability_chart(found))[0] == 620


def test_bars_are_drawn_even_if_there_are_none_or_too_many() -> None:
    bars = [Bar(f"bar {number}", number, f"{number}/s") for number in range(100)]
    assert size(charts.bar_chart("Rates", "below", bars))[1] < 1500
    assert size(charts.bar_chart("Rates", "below", []))[1] > 80
    assert size(charts.bar_chart("Rates", "below", [Bar("zero", 0.0, "0")]))[1] > 80


def test_what_is_poor_stands_out() -> None:
    assert len({charts.share_colour(share) for share in (0.2, 0.6, 0.9)}) == 3
