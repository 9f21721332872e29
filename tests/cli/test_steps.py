"""`appliance steps`: the words and the picture; end_to_end/test_streams.py asks a real model."""

import click
import pytest

from appliance.cli.steps import drawn, summary


def result(steps: int, *, cadence: float | None = 110.4, left_out: int = 0) -> dict:
    events = [{"start": n / 2, "end": n / 2 + 0.5, "time": n / 2 + 0.5} for n in range(steps)]
    return {
        "events": events,
        "step_count": steps,
        "cadence_per_minute": cadence,
        "readings": {"left_out": left_out},
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (result(4), "4 steps in 2.0 s, 110 a minute at the end"),
        (result(1, cadence=None), "1 step in 0.5 s"),
        (result(0, cadence=None, left_out=3), "0 steps, 3 readings left out"),
    ],
)
def test_a_result_in_words(found: dict, words: str) -> None:
    assert summary(found) == words


def job(body: bytes) -> dict:
    return {
        "title": "walk.csv: 2 steps",
        "subtitle": "",
        "content_type": "text/csv",
        "body": body,
        "rate_hz": None,
        "steps": [0.5, 1.0],
    }


def test_another_process_draws() -> None:
    rows = "\n".join(f"{n / 50},0,0,{9.8 + n % 5}" for n in range(100))
    assert drawn(job(f"t,ax,ay,az\n{rows}".encode())).startswith(b"\x89PNG\r\n")


def test_what_cannot_be_drawn_is_told_in_words() -> None:
    with pytest.raises(click.ClickException, match="names no column 'ax'"):
        drawn(job(b"time,height\n1,2"))
