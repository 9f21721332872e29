"""SQLite's errors become problems a client and an admin understand."""

import apsw
import pytest

from appliance import errors
from appliance.store.faults import Kind, as_problem, kind_of


@pytest.mark.parametrize(
    ("fault", "kind", "problem"),
    [
        (apsw.FullError("x"), Kind.FULL, errors.InsufficientStorage),
        (apsw.BusyError("x"), Kind.BUSY, errors.DatabaseUnavailable),
        (apsw.CorruptError("x"), Kind.CORRUPT, errors.DatabaseUnavailable),
        (apsw.NotADBError("x"), Kind.CORRUPT, errors.DatabaseUnavailable),
        (apsw.IOError("x"), Kind.IO, errors.DatabaseUnavailable),
        (apsw.ReadOnlyError("x"), Kind.IO, errors.DatabaseUnavailable),
        (apsw.ConstraintError("x"), Kind.CONFLICT, errors.Conflict),
        (apsw.SQLError("x"), Kind.OTHER, apsw.SQLError),
        (ValueError("x"), None, ValueError),
    ],
)
def test_each_fault_has_its_meaning(
    fault: Exception, kind: Kind | None, problem: type[Exception]
) -> None:
    assert kind_of(fault) is kind
    assert isinstance(as_problem(fault), problem)


def test_no_room_for_shared_memory_is_a_full_disk() -> None:
    fault = apsw.IOError("disk I/O error")
    fault.extendedresult = 4874
    assert kind_of(fault) is Kind.FULL
