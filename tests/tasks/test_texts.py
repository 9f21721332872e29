import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import InvalidInput, ModelInvalid, PayloadTooLarge, UnsupportedMedia
from appliance.library.manifest import Input, Manifest, Output
from appliance.tasks.contract import Limits, Model, Payload
from appliance.tasks.texts import (
    Reading,
    Texts,
    check_text_inputs,
    read_texts,
    rows_of,
    takes_text,
    text_turn,
)

LIMITS = Limits(texts=3, text_bytes=100)


def model(layout: str = "", **shapes: list[int]) -> Model:
    shapes = shapes or {"input_ids": [-1, -1], "attention_mask": [-1, -1]}
    return Model(
        manifest=Manifest(
            manifest_version=1,
            name="text",
            version=1,
            task="text-classification",
            inputs=tuple(Input(tensor=name, layout=layout) for name in shapes),
            outputs=(Output(tensor="scores"),),
        ),
        labels={},
        input_shapes=shapes,
    )


def read(body: bytes | str, content_type: str = "application/json") -> Texts:
    raw = body.encode() if isinstance(body, str) else body
    return read_texts(Payload(raw, content_type), LIMITS)


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", ""])
def test_plain_text_is_one_text(kind: str) -> None:
    assert read("Grüße, 世界 ", kind) == Texts(("Grüße, 世界 ",), is_list=False)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read(b"\xef\xbb\xbfhello", "text/plain").texts == ("hello",)


def test_json_holds_one_text_or_a_list() -> None:
    assert read('{"text": "a"}') == Texts(("a",), is_list=False)
    assert read('{"texts": ["a", "b"]}') == Texts(("a", "b"), is_list=True)
    assert read('{"texts": ["a"]}') == Texts(("a",), is_list=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{}", "either"),
        ('{"text": "a", "texts": ["b"]}', "either"),
        ('{"texts": []}', "length >= 1"),
        ('{"text": 3}', "Expected `str`"),
        ('{"text": null}', "Expected `str`"),
        ('{"words": "a"}', "unknown field `words`"),
        ('["a"]', "Expected `object`"),
        ('{"text": "\\ud800"}', "must be"),
        ('{"text": NaN}', "malformed"),
        ("[" * 100, "must be"),
        (b'{"text": "\xff"}', "must be"),
    ],
)
def test_other_json_is_refused_and_says_what_is_wanted(body: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(body)


def test_empty_texts_are_refused_where_they_are() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        read(" \n\t", "text/plain")
    with pytest.raises(InvalidInput) as refused:
        read('{"texts": ["a", "  "]}')
    assert refused.value.errors[0].pointer == "/texts/1"


def test_a_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not UTF-8: byte 1"):
        read(b"a\xff", "text/plain")
    with pytest.raises(InvalidInput, match="zero character"):
        read(b"PK\0\0", "text/plain")
    with pytest.raises(UnsupportedMedia, match="image/png is not a text"):
        read(b"\x89PNG", "image/png")


def test_texts_and_bytes_are_bounded() -> None:
    with pytest.raises(PayloadTooLarge, match="4 texts; at most 3"):
        read('{"texts": ["a", "a", "a", "a"]}')
    with pytest.raises(PayloadTooLarge, match="101 bytes; at most 100"):
        read("a" * 101, "text/plain")


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["text", "texts", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=80) | json_like.map(lambda value: json.dumps(value).encode()))
def test_anything_is_read_or_refused(body: bytes) -> None:
    for kind in ("application/json", "text/plain"):
        try:
            found = read_texts(Payload(body, kind), LIMITS)
        except (InvalidInput, PayloadTooLarge):
            continue
        assert 1 <= len(found.texts) <= 3
        assert all(text.strip() for text in found.texts)


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
def test_text_comes_through_unchanged(text: str) -> None:
    if not text.strip() or "\0" in text:
        return
    assert read(json.dumps({"text": text})).texts == (text,)
    if not text.startswith("\ufeff"):
        assert read(text, "text/plain").texts == (text,)


def test_without_a_tokenizer_tokens_are_bytes() -> None:
    turn = text_turn(Texts(("hé",), is_list=False), model())
    (tensors,) = turn.inputs
    assert tensors["input_ids"].tolist() == [[104, 0xC3, 0xA9, 0, 0, 0, 0, 0]]
    assert tensors["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert turn.context.reads[0].tokens == 3


def test_a_network_of_fixed_length_cuts_and_tells_so() -> None:
    fixed = model(input_ids=[1, 4], attention_mask=[1, 4], token_type_ids=[1, 4])
    turn = text_turn(Texts(("abcdef", "ab"), is_list=True), fixed)
    assert [one["input_ids"].tolist() for one in turn.inputs] == [
        [[97, 98, 99, 100]],
        [[97, 98, 0, 0]],
    ]
    assert turn.inputs[0]["token_type_ids"].tolist() == [[0, 0, 0, 0]]
    assert [(one.tokens, one.truncated) for one in turn.context.reads] == [(4, True), (2, False)]


def test_texts_of_like_length_share_an_inference() -> None:
    texts = ["a" * 200, "b", "c" * 190, *("d" * 5 for _ in range(40))]
    turn = text_turn(Texts(tuple(texts), is_list=True), model())
    shapes = [one["input_ids"].shape for one in turn.inputs]
    assert shapes == [(1, 200), (1, 192), (41, 8)]
    assert all(rows * length <= 41 * 8 for rows, length in shapes)


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_rows_come_back_in_the_order_of_the_texts(lengths: list[int]) -> None:
    turn = text_turn(Texts(tuple("a" * length for length in lengths), is_list=True), model())
    outputs = [
        {"scores": one["attention_mask"].sum(1, keepdims=True).astype(np.float32)}
        for one in turn.inputs
    ]
    assert rows_of(outputs, turn.context, "scores")[:, 0].tolist() == lengths


def test_values_with_more_dimensions_follow_one_another() -> None:
    reading = Reading(reads=(), groups=((1, 0),), is_list=True)
    rows = rows_of([{"x": np.arange(8).reshape(2, 2, 2)}], reading, "x")
    assert rows.tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]


def test_a_model_of_strings_gets_the_texts_themselves() -> None:
    turn = text_turn(Texts(("ab", "c"), is_list=True), model(text=[-1]), more=("d",))
    assert [one["text"].tolist() for one in turn.inputs] == [["ab", "c", "d"]]
    single = text_turn(Texts(("ab", "c"), is_list=True), model(text=[1]))
    assert [one["text"].tolist() for one in single.inputs] == [["ab"], ["c"]]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"a": [-1, -1], "b": [-1, -1]}, "one input for tokens"),
        ({"attention_mask": [-1, -1]}, "one input for tokens"),
        ({"input_ids": [-1, -1, 3]}, r"\[texts, tokens\]"),
        ({"input_ids": [8, 16]}, "one text or any number"),
        ({"input_ids": [1, 2]}, "at least 4 tokens"),
    ],
)
def test_models_that_take_no_texts_are_refused(shapes: Any, words: str) -> None:
    with pytest.raises(ModelInvalid, match=words):
        check_text_inputs(model(**shapes), called="A text classifier")


def test_models_that_take_texts_pass() -> None:
    for shapes in (
        {"input_ids": [-1, -1]},
        {"ids": [1, 128], "mask": [1, 128], "segment": [1, 128]},
        {"text": [-1]},
    ):
        check_text_inputs(model("", **shapes), called="A text classifier")


def test_pixels_make_a_model_one_of_pictures() -> None:
    assert takes_text(model())
    assert not takes_text(model("NCHW", image=[1, 3, 8, 8]))
