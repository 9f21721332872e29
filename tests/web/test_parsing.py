"""Query strings and JSON bodies are read strictly: what is not understood is refused by name."""

import contextlib
from typing import Annotated, Any

import falcon
import falcon.testing
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from appliance.errors import (
    InvalidInput,
    MalformedRequest,
    PayloadTooLarge,
    Problem,
    UnsupportedMedia,
)
from appliance.web import parsing


class Wanted(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    limit: Annotated[int, Meta(ge=1, le=10)] = 5
    from_: str | None = None
    names: tuple[str, ...] = ()
    is_open: bool = False


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    numbers: tuple[int, ...] = ()


def asked(query: str = "", body: bytes = b"", media: str = "application/json") -> falcon.Request:
    options = falcon.RequestOptions()
    options.keep_blank_qs_values = True
    options.auto_parse_qs_csv = False
    environ = falcon.testing.create_environ(
        method="POST",
        path="/thing",
        query_string=query,
        body=body,
        headers={"Content-Type": media} if media else None,
    )
    return falcon.Request(environ, options=options)


def pointers(problem: Problem) -> list[str]:
    return [fault.pointer for fault in problem.errors]


def test_a_query_becomes_the_struct_that_was_asked_for() -> None:
    found = parsing.query(asked("limit=7&from=now&names=a,b&is_open=true"), Wanted)
    assert found == Wanted(limit=7, from_="now", names=("a", "b"), is_open=True)
    assert parsing.query(asked(), Wanted) == Wanted()


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=11", "/query/limit"),
        ("limit=many", "/query/limit"),
        ("limit=", "/query/limit"),
        ("is_open=perhaps", "/query/is_open"),
        ("from_=now", "/query/from_"),
        ("Limit=3", "/query/Limit"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(query: str, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsing.query(asked(query), Wanted)
    assert pointers(refused.value) == [pointer]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"a","name":"b"}',
        b'{"name":"a","n\\u0061me":"a"}',
        b'{"name":"a","numbers":[1],"numbers":[1]}',
    ],
)
def test_a_key_given_twice_is_refused_as_nobody_knows_which_is_meant(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="more than once"):
        parsing.json_body(asked(body=body), Body)


def test_a_key_given_twice_deep_inside_is_refused_too() -> None:
    with pytest.raises(MalformedRequest, match="'b' more than once"):
        parsing.decode_json(b'{"a":[{"b":1,"c":2},{"b":1,"b":2}]}', dict[str, Any])
    assert parsing.decode_json(b'{"a":[{"b":1},{"b":2}]}', dict[str, Any])


def test_an_unknown_parameter_is_told_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"'limits'.*limit, from, names, is_open"):
        parsing.query(asked("limits=3"), Wanted)


def test_a_parameter_given_twice_is_refused_as_nobody_knows_which_is_meant() -> None:
    with pytest.raises(MalformedRequest, match="'limit' is given more than once"):
        parsing.query(asked("limit=3&limit=4"), Wanted)


@pytest.mark.parametrize("value", ["a%00b", "%ff"])
def test_a_value_that_is_no_text_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="'from' holds characters that are not text"):
        parsing.query(asked(f"from={value}"), Wanted)


@given(query=st.text(alphabet="limtfrom=&%,0179aé+\x00", max_size=60))
def test_no_query_string_breaks_the_parser(query: str) -> None:
    try:
        found = parsing.query(asked(query), Wanted)
    except (InvalidInput, MalformedRequest):
        return
    assert 1 <= found.limit <= 10


def test_an_operation_without_parameters_refuses_each_by_name() -> None:
    parsing.no_query(asked())
    with pytest.raises(InvalidInput, match="'force'") as refused:
        parsing.no_query(asked("force"))
    assert pointers(refused.value) == ["/query/force"]


def test_a_body_becomes_the_struct_that_was_asked_for() -> None:
    for media in ("application/json", "Application/JSON; charset=utf-8"):
        found = parsing.json_body(asked(body=b'{"name":"a","numbers":[1]}', media=media), Body)
        assert found == Body("a", (1,))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"name":1}', "/name"),
        (b'{"name":"a","numbers":[1,"x"]}', "/numbers/1"),
        (b'{"nam":"a"}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
    ],
)
def test_json_of_another_shape_is_refused_with_the_place(body: bytes, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsing.json_body(asked(body=body), Body)
    assert pointers(refused.value) == [pointer]


@pytest.mark.parametrize("body", [b"", b"{", b"name=a", b'{"name":"\xff"}', b'{"name":"a"}x'])
def test_bytes_that_are_no_json_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parsing.json_body(asked(body=body), Body)


def test_json_nested_without_end_is_malformed() -> None:
    with pytest.raises(MalformedRequest):
        parsing.decode_json(b"[" * 100_000, Any)


@given(body=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    with contextlib.suppress(InvalidInput, MalformedRequest):
        assert isinstance(parsing.decode_json(body, Body), Body)


@pytest.mark.parametrize("media", ["", "text/plain", "application/xml", "application/jsonx"])
def test_only_json_is_taken_as_json(media: str) -> None:
    with pytest.raises(UnsupportedMedia):
        parsing.json_body(asked(body=b'{"name":"a"}', media=media), Body)


def test_a_body_may_be_left_out_only_where_that_has_a_meaning() -> None:
    assert parsing.json_body(asked(media=""), Body, required=False) is None
    with pytest.raises(UnsupportedMedia):
        parsing.json_body(asked(media=""), Body)
    found: Any = parsing.json_body(asked(body=b'{"name":"a"}'), Body, required=False)
    assert found == Body("a")


def test_a_json_body_has_a_limit() -> None:
    largest = b'{"name":"' + b"x" * (1024 * 1024 - 11) + b'"}'
    assert len(parsing.json_body(asked(body=largest), Body).name) == 1024 * 1024 - 11
    with pytest.raises(PayloadTooLarge):
        parsing.json_body(asked(body=largest + b" "), Body)


def test_the_limit_of_json_is_the_configured_one() -> None:
    request = asked(body=b'{"name":"a"}')
    request.context.most_json_bytes = 12
    assert parsing.json_body(request, Body) == Body("a")
    request = asked(body=b'{"name":"ab"}')
    request.context.most_json_bytes = 12
    with pytest.raises(PayloadTooLarge, match="12 bytes"):
        parsing.json_body(request, Body)


def test_long_numbers_and_many_keys_are_read_in_a_moment() -> None:
    digits = b"9" * 5000
    assert parsing.decode_json(b'{"a":1e5,"b":[' + b"1," * 9 + b"1]}", dict[str, Any])
    with contextlib.suppress(Problem):
        parsing.decode_json(b'{"a":' + digits + b"}", dict[str, Any])
    many = b",".join(b'"%d":1' % number for number in range(60_000))
    assert len(parsing.decode_json(b"{" + many + b"}", dict[str, int])) == 60_000
    with pytest.raises(MalformedRequest, match="'59999' more than once"):
        parsing.decode_json(b"{" + many + b',"59999":1}', dict[str, int])
