"""The tree of problems."""

import re

import msgspec
import pytest

from appliance import errors

ALL = errors.all_problems()


@pytest.mark.parametrize("slug", ALL)
def test_every_problem_says_what_it_is(slug: str) -> None:
    kind = ALL[slug]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", slug)
    assert 400 <= kind.status <= 599
    assert kind.title
    assert not kind.title.endswith(".")


def test_titles_and_slugs_are_not_shared() -> None:
    assert len({kind.title for kind in ALL.values()}) == len(ALL)


@pytest.mark.parametrize("slug", ALL)
def test_a_problem_survives_the_way_from_a_child(slug: str) -> None:
    problem = ALL[slug]("The 3rd field is wrong.", pointer="/a/b", retry_after_seconds=2.5)
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(problem.encoded()))
    back = errors.decoded(wire)
    assert type(back) is type(problem)
    assert back.document("r1") == problem.document("r1")
    assert back.retry_after_seconds == 2.5


def test_a_problem_nobody_knows_is_our_own_fault() -> None:
    assert type(errors.decoded({"slug": "from-the-future", "detail": "x"})) is errors.Internal
    assert errors.decoded({}).status == 500


def test_the_document_is_that_of_rfc_9457() -> None:
    problem = errors.InvalidInput("Too large.", pointer="/width")
    assert msgspec.json.decode(msgspec.json.encode(problem.document("r1"))) == {
        "type": "/problems/invalid-input",
        "title": "The content is not valid",
        "status": 422,
        "detail": "Too large.",
        "request_id": "r1",
        "errors": [{"detail": "Too large.", "pointer": "/width"}],
    }


def test_what_can_be_tried_again_says_when() -> None:
    for kind in (errors.RateLimited, *errors.Unavailable.__subclasses__()):
        assert kind("x").retry_after_seconds
    assert errors.Overloaded("x", retry_after_seconds=9).retry_after_seconds == 9


def test_systemd_is_told_when_a_restart_cannot_help() -> None:
    assert errors.ConfigInvalid.exit_status == 78
    assert errors.SchemaTooNew.exit_status == 78
    assert errors.StateUnusable.exit_status != 78
