"""The words between front and process, as they travel."""

import msgspec

from appliance.host.jobs.contract import InputLimits, JobWord, NewVersion


def test_words_are_small_where_there_is_nothing_to_say() -> None:
    assert msgspec.to_builtins(JobWord(kind="cancelled")) == {"kind": "cancelled"}


def test_a_word_of_a_made_version_comes_back_as_it_was() -> None:
    word = JobWord(kind="done", files=("a",), new_version=NewVersion(model="m", directory="d"))
    assert msgspec.convert(msgspec.to_builtins(word), JobWord) == word


def test_limits_have_a_bound_when_nobody_says_one() -> None:
    assert InputLimits().members == 10_000
    assert InputLimits().file_bytes == 50_000_000
