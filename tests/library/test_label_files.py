"""Labels are understood in the shapes people have them in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.library.label_files import labels_of, labels_of_names


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\nbird\n",
        "\ufeffcat\r\ndog\r\nbird\r\n\r\n",
        "0 cat\n1 dog\n2 bird",
        "0: cat\n1: dog\n2: bird",
        "2  bird\n0  cat\n1  dog",
        "0,cat\n1,dog\n2,bird",
        '["cat", "dog", "bird"]',
        '{"0": "cat", "1": "dog", "2": "bird"}',
        '{"cat": 0, "dog": 1, "bird": 2}',
        '{"labels": ["cat", "dog", "bird"]}',
        '[{"name": "cat"}, {"name": "dog"}, {"name": "bird"}]',
        "path: x\nnames:\n  0: cat\n  1: dog\n  2: bird\nstride: 32\n",
        "names:\n- cat\n- 'dog'\n- bird\n",
        "nc: 3\nnames: ['cat', 'dog', 'bird']\n",
        "names: [cat, dog, bird]\n",
        "item { id: 0 name: 'cat' }\nitem { id: 1\n name: 'd' display_name: \"dog\" }\n"
        "item { id: 2 name: 'bird' }",
    ],
)
def test_every_known_shape_gives_the_same_labels(text: str) -> None:
    assert labels_of(text) == ("cat", "dog", "bird")


def test_an_index_that_is_left_out_gets_a_label_of_its_own() -> None:
    text = "item { id: 1 name: 'cat' }\nitem { id: 3 name: 'dog' }"
    assert labels_of(text) == ("class 0", "cat", "class 2", "dog")


def test_labels_that_begin_with_a_number_stay_as_they_are() -> None:
    assert labels_of("7up bottle\ncola\n") == ("7up bottle", "cola")
    assert labels_of("100 metres\n200 metres\n") == ("100 metres", "200 metres")


def test_nothing_is_no_list_of_labels() -> None:
    with pytest.raises(InvalidInput, match="no labels"):
        labels_of("\n")


def test_a_book_is_no_list_of_labels() -> None:
    with pytest.raises(InvalidInput, match="no list"):
        labels_of("word " * 1000)


def test_names_are_read_as_data_only() -> None:
    assert labels_of_names("{0: 'person', 1: 'car'}") == ("person", "car")
    assert labels_of_names("['person', 'car']") == ("person", "car")
    assert labels_of_names("__import__('os').system('true')") == ()
    assert labels_of_names("(" * 5000) == ()


@given(st.text(max_size=300))
def test_any_text_is_labels_or_refused(text: str) -> None:
    try:
        found = labels_of(text)
    except InvalidInput:
        return
    assert found
    assert all("\n" not in label for label in found)


@given(st.lists(st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True), min_size=1))
def test_one_label_on_each_line_is_what_it_says(labels: list[str]) -> None:
    assert labels_of("\n".join(labels)) == tuple(labels)
