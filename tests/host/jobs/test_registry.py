"""Every kind that is registered can be run, and importing the registry costs the front nothing."""

import subprocess
import sys

import msgspec
import pytest

from appliance.errors import NotFound
from appliance.host.jobs.registry import KINDS, RegisteredKind, kind_named
from appliance.host.jobs.runner import implementation_of


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_has_what_runs_it_and_takes_the_same_parameters(kind: RegisteredKind) -> None:
    found = implementation_of(kind.implementation)
    assert found.Params is kind.Params
    assert callable(found.run)
    assert kind.title
    msgspec.json.schema(kind.Params)


def test_names_are_unique_and_unknown_ones_are_refused_with_those_there_are() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    assert kind_named("batch").name == "batch"
    with pytest.raises(NotFound, match="batch"):
        kind_named("laundry")


def test_the_registry_imports_nothing_heavy() -> None:
    program = (
        "import sys, appliance.host.jobs.registry;"
        "print(sorted({'openvino', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
