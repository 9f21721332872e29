"""Waiting for a job's end: told at once, bounded in time and number."""

import threading

from appliance.actions import job_news
from appliance.actions.job_news import JobNews
from tests.job_parts import HANG_SECONDS, eventually


def test_who_waits_is_woken_by_the_end_of_that_job_alone() -> None:
    news = JobNews()
    ended: set[str] = set()
    back: list[str] = []

    def wait(job_id: str) -> None:
        news.wait(job_id, lambda: job_id in ended, seconds=HANG_SECONDS)
        back.append(job_id)

    threads = [threading.Thread(target=wait, args=(each,)) for each in ("a", "b")]
    for thread in threads:
        thread.start()
    eventually(lambda: len(news._waiting) == 2)
    ended.add("a")
    news.tell_end("a")
    threads[0].join(HANG_SECONDS)
    assert back == ["a"]
    ended.add("b")
    news.tell_end("b")
    threads[1].join(HANG_SECONDS)
    assert news._waiting == {}


def test_waiting_ends_with_the_time_and_with_the_asker() -> None:
    news = JobNews()
    news.wait("a", lambda: False, seconds=0.01)
    news.wait("a", lambda: False, seconds=HANG_SECONDS, is_gone=lambda: True)


def test_who_finds_all_seats_taken_does_not_wait(monkeypatch: object) -> None:
    news = JobNews()
    for _ in range(job_news._MOST_WAITING):
        assert news._seats.acquire(blocking=False)
    news.wait("a", lambda: False, seconds=HANG_SECONDS)


def test_progress_is_known_until_the_end() -> None:
    news = JobNews()
    assert news.progress("a") is None
    news.tell_progress("a", 0.5, "half")
    assert news.progress("a") == (0.5, "half")
    news.tell_end("a")
    assert news.progress("a") is None


def test_asking_for_an_end_wakes_and_is_told_once() -> None:
    news = JobNews()
    woken: list[bool] = []
    news.wake = lambda: woken.append(True)
    news.ask_for_end("a")
    assert (woken, news.unwanted(), news.unwanted()) == ([True], {"a"}, set())
