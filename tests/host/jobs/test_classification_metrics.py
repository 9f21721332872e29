import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.host.jobs.classification_metrics import (
    BINS,
    calibration,
    confusion_matrix,
    score,
    wilson_interval,
)

LABELS = ["cat", "dog", "cow", "never seen"]
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=60)
answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def test_a_score_computed_by_hand() -> None:
    # cat: 3 items, 2 right; dog: 2 items, 1 right, 1 without an answer; cow: 1 item, right.
    found = score([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, -1, 2], labels=LABELS)
    assert (found.items, found.right, found.accuracy) == (6, 4, pytest.approx(4 / 6))
    assert found.labels == ("cat", "dog", "cow")
    assert found.confusion == ((2, 1, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0))
    cat, dog, cow = found.classes
    assert (cat.precision, cat.recall) == (1.0, pytest.approx(2 / 3))
    assert cat.f1 == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))
    assert (dog.precision, dog.recall, dog.f1) == (0.5, 0.5, 0.5)
    assert (cow.precision, cow.recall, cow.f1) == (1.0, 1.0, 1.0)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert found.macro_f1 == pytest.approx((0.8 + 0.5 + 1) / 3)


def test_a_class_that_was_only_answered_has_no_recall() -> None:
    found = score([0], [1], labels=LABELS)
    dog = found.classes[1]
    assert (dog.items, dog.answers, dog.recall, dog.precision) == (0, 1, None, 0.0)
    assert found.classes[0].precision is None


def test_there_is_no_score_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        score([], [], labels=LABELS)


def test_calibration_computed_by_hand() -> None:
    # Two bins: (0.6, 0.667] with confidence 0.65 and accuracy 0.5, (0.933, 1] with 0.95 and 1.
    found = calibration([0.64, 0.66, 0.95, 0.95], [True, False, True, True])
    assert found is not None
    assert found.ece == pytest.approx(0.5 * abs(0.65 - 0.5) + 0.5 * abs(0.95 - 1.0))
    assert [one.items for one in found.bins] == [2, 2]
    assert (found.confidence, found.accuracy) == (pytest.approx(0.8), 0.75)


def test_without_answers_there_is_no_calibration() -> None:
    assert calibration([], []) is None


def test_the_interval_is_that_of_the_books() -> None:
    # Wilson's interval of 472 of 480, computed apart: 0.96744 to 0.99153.
    low, high = wilson_interval(472, 480)
    assert (low, high) == (pytest.approx(0.96744, abs=1e-4), pytest.approx(0.99153, abs=1e-4))
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(pairs)
def test_the_matrix_counts_every_item_once(given_pairs: list[tuple[int, int]]) -> None:
    truths, said = zip(*given_pairs, strict=True)
    matrix = confusion_matrix(truths, said, len(LABELS))
    assert matrix.sum() == len(truths)
    assert matrix.trace() == sum(truth == answer for truth, answer in given_pairs)
    for label in range(len(LABELS)):
        assert matrix[label].sum() == truths.count(label)
        assert matrix[:, label].sum() == said.count(label)


@given(pairs, st.randoms())
def test_scores_are_shares_and_know_no_order(
    given_pairs: list[tuple[int, int]], shuffle: random.Random
) -> None:
    truths, said = zip(*given_pairs, strict=True)
    found = score(truths, said, labels=LABELS)
    assert found.accuracy_low <= found.accuracy <= found.accuracy_high
    for one in found.classes:
        for share in (one.precision, one.recall, one.f1):
            assert share is None or 0 <= share <= 1
    assert 0 <= found.macro_f1 <= 1
    shuffled = list(given_pairs)
    shuffle.shuffle(shuffled)
    assert score(*zip(*shuffled, strict=True), labels=LABELS) == found


@given(pairs)
def test_accuracy_is_recall_weighted_by_items(given_pairs: list[tuple[int, int]]) -> None:
    found = score(*zip(*given_pairs, strict=True), labels=LABELS)
    weighted = sum(one.items * (one.recall or 0.0) for one in found.classes)
    assert weighted / found.items == pytest.approx(found.accuracy)


@given(answers)
@settings(max_examples=200)
def test_a_calibration_error_is_a_share_and_at_least_the_gap_of_the_means(
    given_answers: list[tuple[float, bool]],
) -> None:
    sure, right = zip(*given_answers, strict=True)
    found = calibration(sure, right)
    assert found is not None
    assert sum(one.items for one in found.bins) == len(sure)
    assert len(found.bins) <= BINS
    gap = abs(found.confidence - found.accuracy)
    assert gap - 1e-9 <= found.ece <= 1 + 1e-9
    assert all(math.isfinite(one.confidence) for one in found.bins)


@given(st.integers(1, 500))
def test_what_is_sure_and_right_is_perfectly_calibrated(count: int) -> None:
    found = calibration([1.0] * count, [True] * count)
    assert found is not None
    assert found.ece == 0.0


@given(st.integers(1, 300), st.data())
def test_an_interval_holds_its_share(items: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, items))
    low, high = wilson_interval(right, items)
    assert 0 <= low <= right / items <= high <= 1
