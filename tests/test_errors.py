import re

import msgspec
import pytest

from appliance import errors
from appliance.errors import (
    Fault,
    FieldError,
    InvalidInput,
    Overloaded,
    Problem,
    Unavailable,
    all_problems,
    decoded,
)


def own_kinds() -> list[type[Problem]]:
    kinds = [Problem]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return [kind for kind in dict.fromkeys(kinds) if kind.__module__ == errors.__name__]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = dict(re.findall(r"[├└]─ (\w+)\s*(\d{3})?", errors.__doc__ or ""))
    assert set(drawn) == {kind.__name__ for kind in own_kinds()} - {"Problem"}
    for kind in own_kinds():
        if drawn.get(kind.__name__):
            assert kind.status == int(drawn[kind.__name__]), kind


def test_every_problem_has_its_own_slug_a_title_and_a_status() -> None:
    slugs = [kind.__dict__["slug"] for kind in own_kinds() if "slug" in kind.__dict__]
    assert len(set(slugs)) == len(slugs)
    assert set(all_problems()) == set(slugs)
    for slug, kind in all_problems().items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", slug)
        assert kind.title
        assert 400 <= kind.status <= 599


def test_the_wire_form_is_rfc_9457() -> None:
    document = InvalidInput("crop is wrong.", pointer="/query/crop").document("r-1")
    assert msgspec.to_builtins(document) == {
        "type": "/problems/invalid-input",
        "title": "The content is not valid",
        "status": 422,
        "detail": "crop is wrong.",
        "request_id": "r-1",
        "errors": ({"detail": "crop is wrong.", "pointer": "/query/crop"},),
    }


@pytest.mark.parametrize("kind", all_problems().values(), ids=lambda kind: kind.slug)
def test_a_problem_survives_the_way_from_a_child(kind: type[Problem]) -> None:
    told = kind("What happened.", errors=(FieldError("here", "/a"),), retry_after_seconds=2.5)
    found = decoded(msgspec.msgpack.decode(msgspec.msgpack.encode(told.encoded())))
    assert type(found) is kind
    assert (found.detail, found.errors, found.retry_after_seconds) == (
        "What happened.",
        told.errors,
        2.5,
    )


def test_a_problem_of_an_unknown_kind_is_internal() -> None:
    assert decoded({"slug": "no-such"}).status == 500
    assert decoded({}).status == 500


def test_what_can_be_tried_again_says_when() -> None:
    assert Unavailable("x").retry_after_seconds == 1.0
    assert Overloaded("x", retry_after_seconds=9).retry_after_seconds == 9
    assert InvalidInput("x").retry_after_seconds is None


def test_faults_of_the_start_have_an_exit_status() -> None:
    found = {kind.__name__: kind.exit_status for kind in own_kinds() if issubclass(kind, Fault)}
    assert found["ConfigInvalid"] == 78
    assert all(found.values())
