"""The models say what the migrations made."""

import pytest

from appliance.store import tables
from appliance.store.database import Database


def _models() -> list[type]:
    return [
        one
        for one in vars(tables).values()
        if isinstance(one, type) and issubclass(one, tables._Table) and one is not tables._Table
    ]


@pytest.mark.parametrize("model", _models(), ids=lambda model: model.__name__)
def test_a_model_has_the_columns_of_its_table(database: Database, model: type) -> None:
    meta = model._meta  # type: ignore[attr-defined]
    with database.read() as connection:
        columns = connection.sql(
            'SELECT name, "notnull" OR pk FROM pragma_table_info(?)', (meta.table_name,)
        )
    declared = [(field.column_name, not field.null) for field in meta.sorted_fields]
    assert [(name, bool(needed)) for name, needed in columns] == declared


def test_every_table_is_counted_in_a_backup() -> None:
    named = {model._meta.table_name for model in _models()}  # type: ignore[attr-defined]
    assert {name for name, _ in tables.COUNTED} == named
