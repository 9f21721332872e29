"""Names of metrics: each one once, with words of its own."""

import pytest

from appliance.metric_families import COUNTED, MACHINE, WATCHED, Family

ALL = [(name, family) for table in (COUNTED, WATCHED, MACHINE) for name, family in table.items()]


def test_no_name_is_used_twice() -> None:
    assert len({name for name, _ in ALL}) == len(ALL)


@pytest.mark.parametrize(("name", "family"), ALL)
def test_a_name_says_what_kind_it_is(name: str, family: Family) -> None:
    assert family.kind in ("counter", "gauge", "histogram")
    assert (family.kind == "counter") == name.endswith("_total")
    assert family.help.endswith(".")
