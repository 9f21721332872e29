from appliance.web.pace import Pace


def too_slow(pace, total_bytes, now, transfer="body"):
    return pace.is_too_slow(transfer, total_bytes, now, window_seconds=10.0, rate=100.0)


def test_a_slow_transfer_is_noticed_after_one_window():
    pace = Pace()
    assert not too_slow(pace, 0, 0)
    assert not too_slow(pace, 0, 9)
    assert too_slow(pace, 999, 10)


def test_a_fast_transfer_goes_on():
    pace = Pace()
    assert not any(too_slow(pace, second * 100, second) for second in range(100))


def test_an_old_burst_excuses_no_stall():
    pace = Pace()
    too_slow(pace, 0, 0)
    assert not too_slow(pace, 1_000_000, 10)
    assert too_slow(pace, 1_000_000, 20)


def test_another_transfer_starts_anew():
    pace = Pace()
    too_slow(pace, 0, 0)
    assert not too_slow(pace, 0, 100, "answer")
    pace.forget()
    assert not too_slow(pace, 0, 200, "answer")
