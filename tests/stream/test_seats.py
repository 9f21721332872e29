"""Places are counted, given back, and refused when there are none."""

import pytest

from appliance.stream.close_codes import CloseCode, HungUp
from appliance.stream.seats import MOST_KEYLESS_PER_ADDRESS, Seats


def test_places_in_all_are_given_back_also_after_a_fault() -> None:
    seats = Seats(most=1, most_per_key=1)
    with pytest.raises(ValueError), seats.seated():
        raise ValueError
    with seats.seated():
        assert seats.taken == 1
        with pytest.raises(HungUp) as refused, seats.seated():
            pass
        assert refused.value.code is CloseCode.TRY_AGAIN
    assert seats.taken == 0


def test_one_key_cannot_take_the_places_of_another() -> None:
    seats = Seats(most=10, most_per_key=1)
    with seats.of_key("a"), seats.of_key("b"):
        with pytest.raises(HungUp) as refused, seats.of_key("a"):
            pass
        assert refused.value.code is CloseCode.TOO_MANY
    with seats.of_key("a"):
        pass


def test_an_address_without_a_key_has_few_places() -> None:
    seats = Seats(most=1000, most_per_key=1)
    held = [seats.waiting_for_key("192.0.2.7") for _ in range(MOST_KEYLESS_PER_ADDRESS)]
    for one in held:
        one.__enter__()
    with pytest.raises(HungUp), seats.waiting_for_key("192.0.2.7"):
        pass
    with seats.waiting_for_key("192.0.2.8"):
        pass
    for one in held:
        one.__exit__(None, None, None)
    with seats.waiting_for_key("192.0.2.7"):
        pass
