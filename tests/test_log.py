"""Log lines: what is written, what never is, and what a flood or a full disk does."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import config, log
from appliance.clock import ManualClock
from appliance.errors import StateUnusable
from appliance.log_line import LINE_BYTES

KEY = "iak_A1b2C3_abcdefghijklmnopqrstuvwxyz0123456789"


class Written:
    """A journal that writes into memory."""

    def __init__(self, **settings: Any) -> None:
        self.stream = io.StringIO()
        self.clock = ManualClock()
        self.journal = log.configure(
            config.Log(**settings), process="test", clock=self.clock, stream=self.stream
        )

    def texts(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts()]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, sys.excepthook, threading.excepthook)
    yield
    for handler in root.handlers:
        if isinstance(handler, log.Journal):
            handler.close()
    root.handlers, root.level = before[0], before[1]
    sys.excepthook, threading.excepthook = before[2], before[3]
    logging.getLogger("appliance").setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def request_line(**fields: Any) -> log.RequestLine:
    given: dict[str, Any] = {
        "request_id": "r1",
        "method": "POST",
        "route": "/api/v1/models/{model}/predict",
        "status": 200,
        "duration_ms": 1.25,
    }
    return log.RequestLine(**{**given, **fields})


def test_an_event_is_one_json_object_with_its_fields() -> None:
    written = Written()
    logging.getLogger("appliance.engine").info("host started", extra={"model": "m", "pid": 7})
    [line] = written.lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "host started",
        "process": "test",
        "logger": "appliance.engine",
        "model": "m",
        "pid": 7,
    }


def test_a_line_cannot_be_forged_split_or_coloured() -> None:
    # Reliability test 118: CRLF, ANSI and a megabyte where a client can put text.
    written = Written()
    hostile = 'x\r\n{"event":"forged"}\x1b[31m\x07\x7f\x9b\u2028\u202e\x00'
    written.journal.request(request_line(user_agent=hostile, path=hostile))
    logging.getLogger("appliance").warning("file %s refused", hostile, extra={"file": hostile})
    for text in written.texts():
        assert text.isascii()
        assert text.isprintable()
    request, refused = written.lines()
    assert request["user_agent"] == hostile
    assert refused["file"] == hostile


def test_a_megabyte_of_anything_is_a_line_of_at_most_8_kib() -> None:
    written = Written()
    for filler in ("x", "\x1b", "😀", "\ud800"):
        written.journal.request(request_line(user_agent=filler * 1_000_000, path=filler * 1_000))
    logging.getLogger("appliance").info("many", extra={f"f{n}": "x" * 5000 for n in range(500)})
    assert len(written.texts()) == 5
    for text in written.texts():
        assert len(text) + 1 <= LINE_BYTES
        assert json.loads(text)["event"] in ("request", "many")


def test_fields_cannot_replace_the_fixed_names() -> None:
    written = Written()
    logging.getLogger("appliance").info("real", extra={"event": "forged", "level": "x"})
    [line] = written.lines()
    assert (line["event"], line["field_event"], line["level"]) == ("real", "forged", "info")


def test_secrets_are_never_written() -> None:
    written = Written()
    logger = logging.getLogger("appliance")
    logger.info("a", extra={"authorization": f"Bearer {KEY}", "Password": "p4ss", "token": "t"})
    logger.info("b", extra={"headers": {"X-API-Key": KEY, "Cookie": "c00kie", "Accept": "x"}})
    logger.info("c %s", f"sent Authorization: Bearer abc.def.ghi and {KEY}")
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        logger.exception("d")
    text = written.stream.getvalue()
    for secret in ("abcdefghijkl", "p4ss", "c00kie", "abc.def"):
        assert secret not in text
    assert "iak_A1b2C3_[redacted]" in text


def test_the_cut_of_a_long_text_leaves_no_half_of_a_key() -> None:
    written = Written()
    for before in range(2000, 2060):
        logging.getLogger("appliance").info("long", extra={"text": "x" * before + KEY})
    assert "abcdef" not in written.stream.getvalue()


def test_values_that_json_cannot_say_become_text() -> None:
    written = Written()

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    fields = {
        "not_a_number": float("nan"),
        "infinite": float("-inf"),
        "huge": 10**400,
        "bytes_": b"\x00\x01",
        "path": Path("a"),
        "unprintable": Unprintable(),
        "nested": {"a": [1, {"b": {"c": {"d": {"e": 1}}}}]},
        "many": list(range(1000)),
    }
    logging.getLogger("appliance").info("odd", extra=fields)
    [line] = written.lines()
    assert line["not_a_number"] == "nan"
    assert line["bytes_"] == "[2 bytes]"
    assert line["unprintable"] == "[Unprintable]"
    assert len(line["many"]) == 64


def test_an_exception_says_what_and_where_in_one_line() -> None:
    written = Written()
    try:
        raise OSError("disk\ngone")
    except OSError:
        logging.getLogger("appliance").exception("write failed")
    [line] = written.lines()
    assert line["error"] == "OSError: disk\ngone"
    assert "test_log.py" in line["trace"]


def test_a_flood_of_one_event_is_counted_and_leaves_the_others_their_room() -> None:
    # Reliability test 46, with fewer of them.
    written = Written(lines_per_second=5)
    logger = logging.getLogger("appliance")
    for number in range(1000):
        logger.warning("request refused", extra={"number": number})
    logger.info("ready")
    assert [line["event"] for line in written.lines()] == ["request refused"] * 5 + ["ready"]
    written.clock.advance(1)
    written.journal.report_suppressed()
    last = written.lines()[-1]
    assert last["event"] == "lines suppressed"
    assert (last["suppressed_event"], last["lines"]) == ("request refused", 995)
    assert written.journal.readings()["log_lines_suppressed_total"] == 995
    written.journal.report_suppressed()
    assert len(written.lines()) == 7


def test_request_lines_have_the_same_limit() -> None:
    written = Written(lines_per_second=3)
    for _ in range(50):
        written.journal.request(request_line())
    written.clock.advance(1)
    written.journal.request(request_line(status=404))
    events = [line["event"] for line in written.lines()]
    assert events == ["request"] * 3 + ["lines suppressed", "request"]


def test_the_limiter_stays_small_whatever_the_events_are_called() -> None:
    limiter = log.LineLimiter(1, clock=(clock := ManualClock()))
    admitted = sum(limiter.admits(f"event {number}") for number in range(10_000))
    assert admitted == 257
    clock.advance(1)
    assert limiter.take_suppressed() == {"other events": 10_000 - 257}


def test_request_lines_can_be_switched_off_or_filtered_by_level() -> None:
    quiet = Written(requests=False)
    quiet.journal.request(request_line())
    assert quiet.lines() == []
    errors = Written(level="warning")
    errors.journal.request(request_line(status=404))
    errors.journal.request(request_line(status=503))
    assert [line["status"] for line in errors.lines()] == [503]


def test_other_libraries_are_heard_from_warnings_on() -> None:
    written = Written(level="debug")
    logging.getLogger("somebody").info("chatter")
    logging.getLogger("somebody").warning("trouble")
    logging.getLogger("appliance").debug("detail")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    events = [line["event"] for line in written.lines()]
    assert events[:2] == ["trouble", "detail"]
    assert "old way" in events[2]


def test_the_file_follows_logrotate(tmp_path: Path) -> None:
    path = tmp_path / "appliance.log"
    written = Written(file=str(path))
    logger = logging.getLogger("appliance")
    logger.info("before")
    path.rename(tmp_path / "appliance.log.1")
    logger.info("after")
    moved = (tmp_path / "appliance.log.1").read_text()
    assert json.loads(moved)["event"] == "before"
    assert json.loads(path.read_text())["event"] == "after"
    assert len(written.lines()) == 2


def test_a_file_that_is_gone_for_good_costs_no_more_than_its_lines(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    written = Written(file=str(directory / "a.log"))
    (directory / "a.log").unlink()
    directory.rmdir()
    logging.getLogger("appliance").info("still here")
    assert written.lines()[0]["event"] == "still here"
    assert written.journal.readings()["log_lines_unwritten_total"] == 1


def test_a_file_that_cannot_be_opened_is_told_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match=r"clear log\.file"):
        log.configure(config.Log(file=str(tmp_path / "missing" / "a.log")))


def test_a_closed_stderr_does_not_stop_the_work() -> None:
    written = Written()
    written.stream.close()
    logging.getLogger("appliance").info("nobody listens")
    assert written.journal.unwritten_total == 1


def test_uncaught_errors_of_a_thread_are_lines_too() -> None:
    written = Written()
    thread = threading.Thread(target=lambda: 1 // 0, name="worker")
    thread.start()
    thread.join()
    [line] = written.lines()
    assert line["event"] == "uncaught error in a thread"
    assert line["thread_name"] == "worker"
    assert line["error"].startswith("ZeroDivisionError")


def test_uncaught_errors_of_the_main_thread_are_lines_too() -> None:
    written = Written()
    sys.excepthook(RuntimeError, RuntimeError("end"), None)
    assert written.lines()[0]["error"] == "RuntimeError: end"


def test_configuring_again_replaces_the_journal() -> None:
    first, second = Written(), Written()
    logging.getLogger("appliance").info("once")
    assert (len(first.lines()), len(second.lines())) == (0, 1)
