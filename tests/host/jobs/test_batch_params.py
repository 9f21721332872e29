import msgspec
import pytest

from appliance.host.jobs.batch_params import BatchParams


@pytest.mark.parametrize("wrong", [{"model": "../x"}, {"model": "m", "sort": 1}, {}])
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, BatchParams)


def test_the_active_version_is_the_default() -> None:
    assert msgspec.convert({"model": "colour"}, BatchParams).version is None
