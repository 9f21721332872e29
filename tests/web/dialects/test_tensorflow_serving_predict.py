"""TensorFlow Serving's tensors: the documented bodies and answers, byte for byte."""

from typing import Any

import pytest

from appliance.errors import InsufficientStorage
from tests.tensor_models import LABELS, MOST_BATCH
from tests.web.dialects.tensorflow_here import Here, b64


def test_rows_of_a_model_with_one_input_and_one_output_need_no_names(here: Here) -> None:
    answer = here.post("/scores:predict", {"instances": [[1, 2, 3, 4, 5], [0.5, 0, 0, 0, 1.5]]})
    assert answer.text == '{"predictions":[[2.0,4.0,6.0,8.0,10.0],[1.0,0.0,0.0,0.0,3.0]]}'
    assert answer.headers["content-type"] == "application/json"


def test_rows_of_several_inputs_and_outputs_are_objects(here: Here) -> None:
    row = {"a": [1, 2, 3, 4], "b": [4, 3, 2, 1]}
    answer = here.post("/add:predict", {"instances": [row, row]})
    one = {"sum": [5.0, 5.0, 5.0, 5.0], "difference": [-3.0, -1.0, 1.0, 3.0]}
    assert answer.json == {"predictions": [one, one]}


def test_columns_are_answered_as_columns(here: Here) -> None:
    columns = {"a": [[1, 2, 3, 4]], "b": [[4, 3, 2, 1]]}
    answer = here.post("/add:predict", {"signature_name": "serving_default", "inputs": columns})
    assert answer.json == {"outputs": {"sum": [[5.0] * 4], "difference": [[-3.0, -1.0, 1.0, 3.0]]}}
    alone = here.post("/scores:predict", {"inputs": [[1, 2, 3, 4, 5]]})
    assert alone.text == '{"outputs":[[2.0,4.0,6.0,8.0,10.0]]}'
    assert here.post("/scores:predict", {"inputs": {"features": [[1] * 5]}}).json == {
        "outputs": [[2.0] * 5]
    }


def test_bytes_and_text_are_both_taken_and_answered_as_text(here: Here) -> None:
    for value in ("grüße", b64("grüße".encode())):
        answer = here.post("/upper:predict", {"instances": [[value]]})
        assert answer.json == {"predictions": [["GRüßE"]]}
    named = here.post("/upper:predict", {"instances": [{"text": b64(b"a")}, {"text": "b"}]})
    assert named.json == {"predictions": [["A"], ["B"]]}


def test_bytes_that_are_no_text_are_answered_as_base64(here: Here) -> None:
    answer = here.post("/upper:predict", {"inputs": [[b64(b"\xff\x00")]]})
    assert answer.json == {"outputs": [[b64(b"\xff\x00")]]}


def test_encoded_pictures_are_decoded_for_a_model_of_pixels(here: Here) -> None:
    pictures = [b64(b"\x07"), b64(b"\x09")]
    rows = here.post("/picture:predict", {"instances": pictures})
    assert rows.json == {"predictions": [[7.0] * 3, [9.0] * 3]}
    named = here.post("/picture:predict", {"instances": [{"image": one} for one in pictures]})
    assert named.json == rows.json
    columns = here.post("/picture:predict", {"inputs": {"image": pictures}})
    assert columns.json == {"outputs": [[7.0] * 3, [9.0] * 3]}
    broken = here.refusal("/picture:predict", {"instances": [b64(b"\xff")]})
    assert "not a picture" in broken


def test_numbers_that_json_lacks_become_null(here: Here) -> None:
    answer = here.post("/scores:predict", {"inputs": [[3e38, 1, 1, 1, 1]]})
    assert answer.json == {"outputs": [[None, 2.0, 2.0, 2.0, 2.0]]}


@pytest.mark.parametrize(
    ("model", "document", "words"),
    [
        ("scores", {}, "either 'instances'"),
        ("scores", {"instances": [[1] * 5], "inputs": [[1] * 5]}, "either 'instances'"),
        ("scores", {"instances": []}, "empty"),
        ("scores", {"instances": 5}, "instances"),
        ("scores", {"instances": [[1, 2]]}, "expected shape [-1,5], got [1,2]"),
        ("scores", {"instances": [[1, 2], [3, 4, 5, 6, 7, 8, 9, 10]]}, "same length"),
        ("scores", {"instances": [[[1, 2, 3, 4, 5]]]}, "expected shape"),
        ("scores", {"instances": [1, 2, 3, 4, 5]}, "expected shape"),
        ("scores", {"inputs": 5}, "expected shape"),
        ("scores", {"inputs": None}, "expected shape"),
        ("scores", {"inputs": []}, "expected shape"),
        ("scores", {"inputs": [[1, 2, 3, 4, "five"]]}, "expected elements of FP32"),
        ("scores", {"inputs": [[1, 2, 3, 4, True]]}, "expected elements of FP32"),
        ("scores", {"inputs": [[1, 2, 3, 4, {"x": 1}]]}, "not an element"),
        ("scores", {"inputs": {"other": [[1] * 5]}}, "no input 'other'"),
        ("scores", {"inputs": [b64(b"x")]}, "expected"),
        ("add", {"inputs": [[1, 2, 3, 4]]}, "name each value"),
        ("add", {"inputs": {"a": [[1, 2, 3, 4]]}}, "b missing"),
        ("add", {"instances": [{"a": [1] * 4, "b": [1] * 4}, {"a": [1] * 4}]}, "Row 1"),
        ("upper", {"instances": [[{"b64": "!"}]]}, "not Base64"),
        ("upper", {"instances": [[{"b64": 5}]]}, "expected text"),
        ("upper", {"instances": [["a"], ["b", "c"]]}, "same length"),
        ("scores", {"signature_name": "other", "instances": [[1] * 5]}, "no signature 'other'"),
        ("scores", b"", "not JSON"),
        ("scores", b"[1]", "object"),
        ("scores", b'{"instances": [[NaN]]}', "not JSON"),
        ("scores", b'{"instances": ' + b"[" * 5000, "not JSON"),
        ("scores", b'{"inputs": ' + b"[" * 60 + b"]" * 60 + b"}", "deep"),
        ("scores", b'{"inputs": "\xff"}', "expected shape"),
        ("upper", b'{"inputs": ["\xff"]}', "UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    here: Here, model: str, document: Any, words: str
) -> None:
    assert words in here.refusal(f"/{model}:predict", document)
    assert here.told.records == []


def test_a_batch_beyond_the_limit_is_too_large(here: Here) -> None:
    rows = [[1] * 5] * (MOST_BATCH + 1)
    assert "tensor_batch" in here.refusal("/scores:predict", {"instances": rows}, 413)


def test_an_answered_request_is_recorded_and_measured(here: Here) -> None:
    answer = here.post("/scores:predict", {"instances": [[1] * 5, [2] * 5]})
    (recorded,) = here.told.records
    assert (recorded.model, recorded.version, recorded.task) == ("scores", 3, "tensors")
    assert recorded.content_type == "application/json"
    assert answer.headers["server-timing"].startswith("queue;dur=")
    assert here.engine.status("scores", None).statistics.inference_count == 2


def test_history_that_must_be_kept_is_asked_for_first(here: Here) -> None:
    here.told.unrecordable = InsufficientStorage("The disk is full.")
    body = {"instances": [[1] * 5]}
    assert here.refusal("/scores:predict", body, 507) == "The disk is full."
    assert here.engine.status("scores", None).statistics.success_count == 0


def test_examples_are_classified_with_every_label(here: Here) -> None:
    examples = [{"features": [1, 2, 3, 4, 5]}, {"features": [0, 0, 0, 0, 1]}]
    answer = here.post("/scores:classify", {"examples": examples})
    assert answer.json["result"][0] == [
        [label, 2.0 * (place + 1)] for place, label in enumerate(LABELS)
    ]
    assert answer.json["result"][1][4] == ["van", 2.0]


def test_a_context_holds_the_features_that_examples_share(here: Here) -> None:
    body = {"context": {"features": [1] * 5}, "examples": [{}, {"features": [2] * 5}]}
    first, second = here.post("/scores:classify", body).json["result"]
    assert (first[0][1], second[0][1]) == (2.0, 4.0)


def test_examples_are_estimated_by_one_number(here: Here) -> None:
    answer = here.post("/mirror-fp32:regress", {"examples": [{"x": [1.5]}]})
    assert answer.status_code == 400  # its size is free, which an example cannot say
    refused = here.refusal("/scores:regress", {"examples": [{"features": [1] * 5}]})
    assert "it is not clear which" in refused


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "'examples'"),
        ({"examples": []}, "'examples'"),
        ({"examples": [{}]}, "Example 0 has no feature 'features'"),
        ({"examples": [{"features": [1, 2]}]}, "expected 5 elements"),
        ({"examples": [5]}, "object"),
    ],
)
def test_examples_that_do_not_fit_are_refused(here: Here, document: Any, words: str) -> None:
    assert words in here.refusal("/scores:classify", document)
