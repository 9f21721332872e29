import string

from hypothesis import given
from hypothesis import strategies as st

from appliance.actions.key_format import KEY_CHARS, new_key, parse_key

BASE62 = string.digits + string.ascii_letters


def test_a_new_key_parses_to_what_is_stored_of_it():
    text, stored = new_key()
    assert len(text) == KEY_CHARS
    assert parse_key(text) == stored
    assert text[4:10] == stored.id
    assert len(stored.secret_sha256) == 32


def test_no_two_keys_are_alike():
    texts = {new_key()[0] for _ in range(500)}
    assert len(texts) == 500


@given(st.text(max_size=100))
def test_no_text_makes_the_parser_fail(text):
    assert parse_key(text) is None


@given(st.text(alphabet=BASE62, min_size=6, max_size=6), st.text(BASE62, min_size=36, max_size=36))
def test_a_right_shape_with_a_wrong_checksum_is_no_key(key_id, rest):
    assert parse_key(f"iak_{key_id}_{rest}") is None


@given(st.integers(0, KEY_CHARS - 1), st.characters())
def test_one_mistyped_character_is_noticed(place, character):
    text, _ = new_key()
    if text[place] != character:
        assert parse_key(text[:place] + character + text[place + 1 :]) is None


@given(st.integers(0, KEY_CHARS - 2))
def test_two_swapped_characters_are_noticed(place):
    text, _ = new_key()
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    assert swapped == text or parse_key(swapped) is None


def test_space_around_a_key_and_its_look_alikes_are_no_key():
    text, _ = new_key()
    for near in (text + "\n", " " + text, text + "\0", text.upper(), text[:-1], text + "a", ""):
        assert parse_key(near) is None
    assert parse_key(text[:-1] + "\u0660") is None
