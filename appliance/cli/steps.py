"""`appliance steps`: count the steps in a recording, and draw them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.cli.connection import connection_of
from appliance.cli.printing import print_json, printable

_MEDIA_TYPES = {".csv": "text/csv", ".json": "application/json"}
_DRAWING_SECONDS = 120.0


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="step-detector", show_default=True, help="Which model to ask.")
@click.option("--rate-hz", type=float, help="Readings a second, where the file has no times.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw the signal and its steps into this PNG file.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON, with every step.")
@click.pass_context
def steps(
    context: click.Context,
    file: Path,
    *,
    model: str,
    rate_hz: float | None,
    plot: Path | None,
    is_json: bool,
) -> None:
    """Count the steps in FILE, a CSV or JSON of readings, by asking the running appliance."""
    content_type = _MEDIA_TYPES.get(file.suffix.lower(), "text/csv")
    query = "" if rate_hz is None else f"?rate_hz={rate_hz:g}"
    body = file.read_bytes()
    answer = connection_of(context).call(
        "POST", f"/api/v1/models/{model}/predict{query}", body=body, content_type=content_type
    )
    result = answer["result"]
    words = summary(result)
    if is_json:
        print_json(result)
    else:
        click.echo(f"{printable(file.name)}: {words}.")
    if plot is not None:
        job = {
            "title": f"{file.name}: {result['step_count']} steps",
            "subtitle": f"{words}; {answer['model']}@{answer['version']}."
            " Line: acceleration. Dots: steps.",
            "content_type": content_type,
            "body": body,
            "rate_hz": rate_hz,
            "steps": [event["time"] for event in result["events"]],
        }
        plot.write_bytes(drawn(job))
        click.echo(f"Drawn into {plot}.", err=is_json)


def summary(result: dict[str, Any]) -> str:
    """Given a step detector's result, return it in words."""
    found, count = result["events"], result["step_count"]
    words = f"{count} step{'' if count == 1 else 's'}"
    if found:
        words += f" in {found[-1]['end'] - found[0]['start']:.1f} s"
    if result["cadence_per_minute"] is not None:
        words += f", {result['cadence_per_minute']:.0f} a minute at the end"
    left_out = result["readings"]["left_out"]
    return words + (f", {left_out} readings left out" if left_out else "")


def drawn(job: dict[str, Any]) -> bytes:
    """Given a job of `appliance.host.step_plot`, return the PNG that it draws.

    Another process draws: this one must not load what decodes and draws pictures.
    """
    done = subprocess.run(
        _drawing_command(),
        input=msgspec.json.encode(job),
        capture_output=True,
        timeout=_DRAWING_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise click.ClickException(f"The picture could not be drawn: {words}")
    return done.stdout


def _drawing_command() -> list[str]:
    if getattr(sys, "frozen", False):
        return [sys.executable, "step-plot"]
    return [sys.executable, "-m", "appliance.host.step_plot"]


COMMANDS = (steps,)
