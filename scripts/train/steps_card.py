"""The model card of `step-detector`, written from what was measured."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from steps_data import PHONE_RATE_HZ, Walk
from steps_score import Calm, count_errors, peak_picker, placing
from steps_standing import Standing, standing_steps

from appliance.tasks.step_events import Picking

Times = NDArray[np.float64]

ABOUT = """\
# step-detector 1

Finds the steps of whoever carries a motion sensor in its acceleration, however it is carried and
turned. A temporal convolutional network of 16,041 parameters looks at windows of 5.1 s at 50 Hz,
4.4 s of them past, and answers for 0.32 s of each; peaks of its answer are steps. A step is final
at most 1.0 s after it.

## Use

- In: acceleration in m/s² with gravity, 20 to 200 readings a second (more are averaged). The
  gyroscope may be sent; it is not used.
- Out: the time of each step, that is when the foot lands, to about ±0.1 s; the count; the cadence.
- Made for walking, slow to fast, and stairs. Running was not in any data. Carried in the hand, a
  swinging hand, on the arm, around the neck, in a front or back pocket or a bag.
- What only goes up and down, evenly, such as a seat or a boat, is taken for no walk, and so are
  made-up walks of that kind: who tries it with one should let it sway to the sides as well. Real
  strides repeated without any change are counted.
- A wide, slow wave of the forearm (±50° at 1.2 Hz) looks like a walk.
- `settings` in manifest.toml holds every constant; `threshold` of the task overrides `walking`
  and `resting`, the least probability of a step within 1.5 s of another one, and of a first one.
  A step sooner than `early_share` of the usual interval of the walk must reach `resting` too.

## What becomes of readings

| reading | rule |
|---|---|
| acceleration beyond ±50 m/s², up to ±160 | clipped to ±50, counted as `clipped` |
| turning beyond ±10 rad/s, up to ±40 | used, counted as `clipped` |
| a value beyond that, absent, NaN or infinite | a fault, see below |
| a time before the last one of the stream | a fault, see below |
| a fault | the payload is refused, naming the reading; `faults=skip` leaves it out and counts it |
| a time equal to the last one | the first reading is used, others are counted as `duplicates` |
| a gap of up to 0.25 s | bridged by a straight line |
| a longer gap | counted in `gaps`; the signal begins anew after it, no step spans it |
| 20 intervals in a row of more than 1/16 s | refused: below 20 Hz, or times not in seconds |
| more than 200 Hz with times | averaged over cells of 0.02 s |
| times with `rate_hz` given | not looked at; a reading that is left out keeps its place |

## Training

`scripts/train/steps.py`, one run, seed 1. Trained on the Oxford step counter data set, folder
`optimisation`, 22 walks, 3 people, 3 phones, 7 places: D. Salvi et al.,
EMBC 2018, https://github.com/Oxford-step-counter/DataSet, CC BY 4.0. Its truth are pressure
sensors in both shoes at 10 Hz, which sometimes bounce or miss a step; training ignores pauses of
about two steps and takes the second of two landings within 0.25 s out; **the tables do not**: they
use the count as published. Added are simulated walks, and simulated standing, riding, waving and
bouncing as counter-examples, half of their windows from signals in which the network so far sees
steps. Walks are played slower and faster, softer (no softer than the softest of them), limping,
halting, and with the phone turned on the way. Nothing was trained on the guide's recordings below.
They were measured, and looked at when the kinds of simulated counter-examples and of augmentation
were chosen.
"""

HONESTY = """\
"Walk unseen" leaves one walk out: each is predicted by a network trained on the 21 others, with
the fixed thresholds. "Thresholds nested" chooses the thresholds anew for each walk, from the
others only.

One rule chooses the thresholds both times (`scripts/train/steps_choice.py`). The mean error on
ordinary walks hardly depends on them. The rule takes every walk and eight variants of it that the
augmentation makes (slower, dawdling, softer, halting), as judged by the network that has not seen
the walk, and 5 minutes of simulated standing, riding and waving for each network; it adds up the
mean error, the mean error of the worst quarter and the false steps a minute of each kind, all as
shares of their bars (3 %, 8 %, 1 a minute), and takes the least. That sum is flat: `walking` may
be 0.2 to 0.3 with hardly a difference. With the fourth kind, bouncing, which no bar names, it
would have been 0.3, and the slow walk on carpet counted 9.7 % too low (14.9 % nested); that the
rule leaves it out, as it did before that kind existed, was decided with both results in sight.

The leak that is left: the networks that judged the other walks had this walk among theirs. The
recipe (network, augmentation, kinds of simulated signals) was chosen on two groups of five and six
walks, left out together, and fixed before the table below; that the phone is turned on the way
was added when a look at the swinging arm showed why its first steps were lost. The rule was
developed with all of these walks in sight. So these figures are a little kinder than a
stranger's data would be.

How much is chance: with seed 2 and the same thresholds, six of the hardest walks are -6.7 %
(carpet), -8.5 % (swinging arm), -4.3 % (Pixel, armband), -3.4 % (Samsung, Jamie), -2.6 % (Nexus)
and +3.3 % (Dario, front pocket). Other shares of counter-examples were tried after this table was
known, to have bare swings counted as walks: with one, the mean was 1.7 %, the worst 8.5 %
(swinging arm) and waving gave 1.9 false steps a minute; with another the walk on carpet was some
16 % too low. They were dropped for those reasons.

The published count of the swinging arm has 151 landings of the left foot and 133 of the right; 266
is likelier than 284, and the errors of that walk are 6 points smaller then.
"""

STANDING = """\
About the steps found while the label says standing: the label calls the last step of many walks,
which brings the feet together, standing, and does not mark it as a step; more than half of what is
found lies there or within a second of a labelled step. Most others come two or more in the
rhythm of a walk, many of them in the tenth of that time in which the body turns round: they
look like steps on the spot that nobody labelled. What is neither is `single, not turning`. So the
recordings can neither prove nor deny the bar of one false step a minute; the simulated ones below
have no steps for certain.
"""

NOTES = """\
The first four come from the generators that training uses, with other seeds, a new signal each
minute. The others come from formulas that it does not use (`scripts/train/steps_plain.py`): bare
sines across gravity; noise, an engine and a swinging body; the mechanics of a phone in a hand that
turns about the elbow; the mechanics of a sprung car on roads of three classes at 30 to 120 km/h.
`bouncing` and `plain riding` are alike, nearly pure swings up and down. False steps come in few
signals, from their beginning to their end; the others have hardly any.
"""


@dataclasses.dataclass
class Findings:
    """Everything measured: steps found on each Oxford walk that was left out, in two ways, the
    thresholds that the other walks chose for it, what is found on the guide's recordings by
    assumed rate, false steps a minute, and speed.
    """

    walks: list[Walk]
    fixed: list[Times]
    nested: list[Times]
    nested_pickings: list[Picking]
    picking: Picking
    phone: dict[float, list[tuple[Walk, Times]]] = dataclasses.field(default_factory=dict)
    simulated: dict[str, Calm] = dataclasses.field(default_factory=dict)
    speed: dict[str, float] = dataclasses.field(default_factory=dict)


def card(findings: Findings) -> str:
    """Given what was measured, return the card as Markdown."""
    picking = findings.picking
    chosen = f"`walking` {picking.walking:g}, `resting` {picking.resting:g}"
    parts = [
        ABOUT,
        f"## Oxford walks, error of the count\n\nFixed thresholds: {chosen}.\n\n{HONESTY}",
        _oxford(findings),
        _chosen(findings),
        "## The guide's recordings, held in the hand, never trained on\n",
        "Their rate is stated nowhere. Comparing the turning that the gyroscope saw with how\n"
        f"gravity turned in the accelerometer fits best at {PHONE_RATE_HZ:g} Hz, used here; the\n"
        "second table assumes 100 Hz. Starts are matched within ±10 samples after one lag.\n",
        *(_phone(rate, pairs) for rate, pairs in findings.phone.items()),
        STANDING,
        "## Signals without steps\n",
        _simulated(findings),
        "## Speed, one thread, f32\n",
        "\n".join(
            f"- {value:,.{0 if value > 1000 else 2}f} {name}"
            for name, value in findings.speed.items()
        ),
        "\nReadings at 100 Hz, windows overlapping as in a stream, in requests of 256 windows;\n"
        "best of many on a busy 2-core Xeon at 2.5 GHz. Reading and resampling come on top.\n",
    ]
    return "\n".join(parts)


def _oxford(findings: Findings) -> str:
    walks = findings.walks
    columns = {
        "walk unseen": count_errors(walks, findings.fixed),
        "thresholds nested": count_errors(walks, findings.nested),
        "peak picker": count_errors(walks, [peak_picker(walk.signal) for walk in walks]),
    }
    lines = [
        f"| walk | true steps | {' | '.join(columns)} |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for number, walk in enumerate(walks):
        cells = " | ".join(f"{100 * column[number]:+.1f} %" for column in columns.values())
        lines.append(f"| {walk.name} | {walk.true_count} | {cells} |")
    for label, merge in (("**mean of the absolute**", np.mean), ("**worst**", np.max)):
        merged = [merge(np.abs(column)) for column in columns.values()]
        cells = " | ".join(f"**{100 * error:.1f} %**" for error in merged)
        lines.append(f"| {label} | | {cells} |")
    return "\n".join(lines) + "\n"


def _chosen(findings: Findings) -> str:
    pairs = [f"{choice.walking:g} and {choice.resting:g}" for choice in findings.nested_pickings]
    tally = sorted(((pairs.count(pair), pair) for pair in set(pairs)), reverse=True)
    words = "; ".join(f"{pair} for {times} walks" for times, pair in tally)
    return f"`walking` and `resting` as chosen by the other walks: {words}.\n"


def _phone(rate: float, pairs: list[tuple[Walk, Times]]) -> str:
    walks = [walk for walk, _ in pairs]
    truth = [walk.steps for walk in walks]
    found = [steps for _, steps in pairs]
    picked = [peak_picker(walk.signal, 0.8, rate) for walk in walks]
    lines = [f"| at {rate:g} Hz | true steps | network | peak picker |", "|---|---:|---:|---:|"]
    errors = [count_errors(walks, steps) for steps in (found, picked)]
    for number, walk in enumerate(walks):
        cells = " | ".join(f"{100 * error[number]:+.1f} %" for error in errors)
        lines.append(f"| {walk.name} | {walk.true_count} | {cells} |")
    cells = " | ".join(f"**{100 * np.abs(error).mean():.1f} %**" for error in errors)
    lines.append(f"| **mean of the absolute** | | {cells} |")
    for samples in (10, 5):
        scores = [placing(truth, steps, samples / rate) for steps in (found, picked)]
        cells = " | ".join(f"**{score.f1:.3f}**" for score in scores)
        lines.append(f"| **start F1, ±{samples} samples** | | {cells} |")
    standing = [standing_steps(walks, steps, rate) for steps in (found, picked)]
    return "\n".join(lines + _standing(standing)) + "\n"


def _standing(sums: list[Standing]) -> list[str]:
    """Return the rows about the stretches labelled as standing."""
    first = sums[0]
    rows = {
        f"labelled as standing, {first.minutes:.1f} minutes: steps found": [s.found for s in sums],
        "… of these, at a walk or a labelled step": [s.at_walks for s in sums],
        f"… of these, away from both ({first.inner_minutes:.1f} minutes)": [s.inner for s in sums],
        "… … with another one within 1.1 s": [s.inner_in_runs for s in sums],
        "… … while the body turns by more than 45° in 3 s": [s.inner_turning for s in sums],
        "… … single, not turning": [s.inner_single for s in sums],
    }
    lines = [f"| {name} | | {' | '.join(map(str, cells))} |" for name, cells in rows.items()]
    lines.append(f"| labelled steps there | {first.labelled} | | |")
    share = first.turning_minutes / first.inner_minutes
    return [*lines, f"| share of the time away from both that it turns so | {share:.0%} | | |"]


def _simulated(findings: Findings) -> str:
    lines = [
        "| simulated | minutes | false steps a minute | minutes without any |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {calm.minutes} | {calm.steps_a_minute:.2f} | {calm.share_without:.0%} |"
        for name, calm in findings.simulated.items()
    ]
    return "\n".join(lines) + "\n\n" + NOTES
