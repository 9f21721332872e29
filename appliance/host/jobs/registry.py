"""The kinds of job there are. A new one is a module beside this and one entry below.

The front imports this, so only light modules may be imported here: `implementation` names what
runs a job as "module:attribute", which only the runner's process imports.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from appliance.errors import NotFound
from appliance.host.jobs.batch_params import BatchParams
from appliance.host.jobs.measure_params import EvaluateParams, QuantiseParams, TuneParams


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKind:
    """One kind of job as the front knows it.

    Where `Params` has a field `model`, the caller's key must cover it. Its field `version`, if
    any, is filled in with the active version when the job is sent; that version, and those of
    fields whose names end in `_version`, are pinned until the job has ended and handed to the job
    in `specifications`.
    """

    name: str
    title: str
    Params: type[msgspec.Struct]
    implementation: str


KINDS: tuple[RegisteredKind, ...] = (
    RegisteredKind(
        name="batch",
        title="Predict many files",
        Params=BatchParams,
        implementation="appliance.host.jobs.batch:KIND",
    ),
    RegisteredKind(
        name="evaluate",
        title="Measure a model on labelled data",
        Params=EvaluateParams,
        implementation="appliance.host.jobs.evaluate:KIND",
    ),
    RegisteredKind(
        name="quantise",
        title="Make an INT8 version and measure it",
        Params=QuantiseParams,
        implementation="appliance.host.jobs.quantise:KIND",
    ),
    RegisteredKind(
        name="tune",
        title="Find out how a model runs best on this machine",
        Params=TuneParams,
        implementation="appliance.host.jobs.tune:KIND",
    ),
)


def kind_named(name: str, kinds: Sequence[RegisteredKind] = KINDS) -> RegisteredKind:
    """Given a kind's name, return the kind; raise NotFound when there is none of that name."""
    for kind in kinds:
        if kind.name == name:
            return kind
    known = ", ".join(sorted(kind.name for kind in kinds))
    raise NotFound(f"There is no kind of job {name!r}. Known kinds are: {known}.")
