import pytest

from appliance.errors import InvalidInput
from appliance.host.jobs.label_index import LabelIndex, some

INDEX = LabelIndex(["cat", "Hot Dog", "dragonfly, darning needle", "7"])


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("cat", 0),
        ("CAT ", 0),
        ("hot_dog", 1),
        ("hot-dog", 1),
        ("Darning Needle", 2),
        ("2", 2),
        ("class 3", 3),
        ("7", 3),  # as written comes before as a number
        ("4", None),
        ("cow", None),
        ("", None),
        ("99999999999999999999", None),
    ],
)
def test_a_label_is_found_however_people_write_it(label: str, expected: int | None) -> None:
    assert INDEX.find(label) == expected


def test_a_model_without_labels_knows_numbers() -> None:
    assert LabelIndex([]).find("class 41") == 41
    assert LabelIndex([]).find("41") == 41


def test_strangers_are_told_and_data_of_another_model_is_refused() -> None:
    assert INDEX.unknown(["cat", "cow", "cow", "pig"]) == ["cow", "pig"]
    with pytest.raises(InvalidInput, match="labelled cow, pig, but the model knows cat"):
        INDEX.unknown(["cow", "pig"])
    assert INDEX.unknown([]) == []


def test_many_labels_are_told_in_few_words() -> None:
    assert some([f"l{number}" for number in range(20)]).endswith("l11 and 8 more")
    assert some([]) == "none by name"
