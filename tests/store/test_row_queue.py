"""Rows wait in order, and neither too many nor too large a heap of them."""

from appliance.store.row_queue import ROW_BYTES, RowQueue


def _row(size: int) -> tuple[str, tuple[object, ...]]:
    return ("INSERT", (1, b"x" * size, None, "y"))


def test_rows_beyond_the_number_are_refused() -> None:
    queue = RowQueue(2)
    assert [queue.append(_row(1)) for _ in range(3)] == [True, True, False]
    assert len(queue) == 2


def test_rows_beyond_the_bytes_are_refused_until_some_have_gone() -> None:
    queue = RowQueue(1000, 10 * (ROW_BYTES + 1000))
    accepted = sum(queue.append(_row(1000)) for _ in range(20))
    assert accepted == 9
    assert len(queue.take(5)) == 5
    assert sum(queue.append(_row(1000)) for _ in range(20)) == 5


def test_one_row_larger_than_the_bound_waits_alone() -> None:
    queue = RowQueue(1000, 1000)
    assert queue.append(_row(5000))
    assert not queue.append(_row(1))
    assert len(queue.take(10)) == 1
    assert queue.append(_row(1))


def test_rows_put_back_are_the_next_again() -> None:
    queue = RowQueue(3)
    for size in (1, 2):
        queue.append(_row(size))
    taken = queue.take(2)
    queue.append(_row(3))
    queue.append(_row(4))
    assert queue.put_back(taken) == 1
    assert queue.take(9) == [_row(1), _row(3), _row(4)]
    assert queue.put_back(taken, is_full=True) == 2
    assert len(queue) == 0


def test_bytes_are_the_same_after_any_coming_and_going() -> None:
    queue = RowQueue(100, 3 * (ROW_BYTES + 101))
    for _ in range(50):
        queue.extend([_row(100)])
        queue.put_back(queue.take(1))
        queue.take(1)
    assert [queue.append(_row(100)) for _ in range(4)] == [True, True, True, False]
