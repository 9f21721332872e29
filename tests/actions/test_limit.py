import threading

import pytest

from appliance.actions.limit import Limiter, refusal
from appliance.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def test_a_burst_is_let_through_and_then_the_rate(clock):
    limiter = Limiter(clock, requests_per_second=10, burst=5)
    assert [limiter.take("a").is_allowed for _ in range(6)] == [True] * 5 + [False]
    clock.advance(0.1)
    assert [limiter.take("a").is_allowed for _ in range(2)] == [True, False]
    clock.advance(100)
    assert [limiter.take("a").is_allowed for _ in range(6)] == [True] * 5 + [False]


def test_what_remains_counts_down_to_nothing(clock):
    limiter = Limiter(clock, requests_per_second=10, burst=3)
    assert [limiter.take("a").remaining for _ in range(4)] == [2, 1, 0, 0]


def test_waiting_as_told_is_enough_and_less_is_not(clock):
    limiter = Limiter(clock, requests_per_second=0.5, burst=2)
    limiter.take("a")
    limiter.take("a")
    wait_seconds = limiter.take("a").wait_seconds
    assert wait_seconds == pytest.approx(2.0)
    clock.advance(wait_seconds - 0.01)
    assert not limiter.take("a").is_allowed
    clock.advance(0.01)
    assert limiter.take("a").is_allowed


def test_asking_while_refused_does_not_make_the_wait_longer(clock):
    limiter = Limiter(clock, requests_per_second=1, burst=1)
    limiter.take("a")
    for _ in range(50):
        assert limiter.take("a").wait_seconds == pytest.approx(1.0)


def test_callers_do_not_spend_each_others_tokens(clock):
    limiter = Limiter(clock, requests_per_second=1, burst=1)
    assert limiter.take("a").is_allowed
    assert limiter.take("b").is_allowed
    assert not limiter.take("a").is_allowed


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0, 366 * 86400.0, -1.79e9])
def test_a_jump_of_the_wall_clock_changes_no_limit(clock, jump_seconds):
    limiter = Limiter(clock, requests_per_second=1, burst=2)
    limiter.take("a")
    limiter.take("a")
    clock.jump(jump_seconds)
    assert limiter.take("a").wait_seconds == pytest.approx(1.0)
    clock.advance(1.0)
    assert limiter.take("a").is_allowed


def test_the_number_of_buckets_is_bounded_and_the_oldest_goes_first(clock):
    limiter = Limiter(clock, requests_per_second=0.001, burst=1, most=10)
    for number in range(25):
        limiter.take(str(number))
    assert len(limiter) == 10
    assert not limiter.take("24").is_allowed
    assert limiter.take("0").is_allowed


def test_the_policy_names_quota_and_window(clock):
    assert Limiter(clock, requests_per_second=50, burst=200).policy == '"default";q=200;w=4'
    assert Limiter(clock, requests_per_second=2000, burst=100).policy == '"default";q=100;w=1'


def test_the_reset_is_when_the_bucket_is_full_again(clock):
    limiter = Limiter(clock, requests_per_second=1, burst=5)
    assert [limiter.take("a").reset_seconds for _ in range(6)] == [1, 2, 3, 4, 5, 5]


def test_a_refusal_tells_different_waits_none_too_short(clock):
    limiter = Limiter(clock, requests_per_second=0.25, burst=1)
    limiter.take("a")
    refused = limiter.take("a")
    waits = {refusal(refused, whose="'a'").retry_after_seconds for _ in range(50)}
    assert len(waits) > 10
    assert min(waits) >= 4.0
    assert max(waits) <= 5.25


def test_threads_together_get_no_more_than_the_burst(clock):
    limiter = Limiter(clock, requests_per_second=0.001, burst=500)
    allowed = []
    start = threading.Barrier(8)

    def ask():
        start.wait()
        allowed.append(sum(limiter.take("a").is_allowed for _ in range(200)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 500
