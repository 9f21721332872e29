import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import Config, Models
from appliance.engine.budget import parsed_weights, shares

NAMES = ("a", "b", "c", "d", "e")


def test_without_weights_every_model_may_use_all_cores() -> None:
    assert shares(4, NAMES[:3], {}) == {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize(
    ("cores", "weights", "dealt"),
    [
        (8, {"a": 3.0}, {"a": 6, "b": 2}),
        (4, {"a": 1.0, "b": 1.0}, {"a": 2, "b": 2}),
        (3, {"a": 1.0}, {"a": 2, "b": 1}),
        (1, {"a": 9.0}, {"a": 1, "b": 1}),
        (2, {"elsewhere": 5.0}, {"a": 1, "b": 1}),
    ],
)
def test_weights_deal_the_cores_out(
    cores: int, weights: dict[str, float], dealt: dict[str, int]
) -> None:
    assert shares(cores, ("a", "b"), weights) == dealt


@given(
    st.integers(1, 256),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9999).map(float), min_size=1),
)
def test_every_model_gets_a_core_and_no_core_is_dealt_twice(
    cores: int, weights: dict[str, float]
) -> None:
    dealt = shares(cores, NAMES, weights)
    assert min(dealt.values()) >= 1
    if min(dealt.values()) > 1 or cores >= len(NAMES) * 10:
        assert sum(dealt.values()) <= cores + len(NAMES)
    most, least = (
        max(NAMES, key=lambda n: weights.get(n, 1)),
        min(NAMES, key=lambda n: weights.get(n, 1)),
    )
    assert dealt[most] >= dealt[least]


def test_the_configurations_entries_are_read() -> None:
    weights = Config(models=Models(weights=("vehicle-type=3", "a=1"))).models.weights
    assert parsed_weights(weights) == {"vehicle-type": 3.0, "a": 1.0}
