"""Machines for the tests of the package; without APPLIANCE_PACKAGE_TESTS=1 none is booted."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.machine import ROOT, Machine, Unbootable, why_unbootable
from tests.package.repack import repacked

#: The version a second package has, so that there is something to upgrade to.
NEXT_VERSION = "0.1.0+next1"


@pytest.fixture(scope="session")
def package() -> Path:
    """The built package; skips, with the reason, where it cannot be tried."""
    if os.environ.get("APPLIANCE_PACKAGE_TESTS") != "1":
        pytest.skip("boots machines: run scripts/test-package")
    reason = why_unbootable()
    if reason:
        pytest.skip(f"no machine can be booted here: {reason}")
    found = sorted((ROOT / "dist").glob("inference-appliance_*_amd64.deb"))
    assert found, "there is no package in dist/; run scripts/build-deb"
    return found[-1]


@pytest.fixture(scope="session")
def next_package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package as a later version."""
    return repacked(package, tmp_path_factory.mktemp("next"), NEXT_VERSION, lambda tree: None)


@pytest.fixture(scope="module")
def machine(
    package: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """A booted machine without the appliance, for one module of tests; it names its FLAVOUR."""
    try:
        flavour = getattr(request.module, "FLAVOUR", "")
        booted = Machine(tmp_path_factory.mktemp("machine"), flavour=flavour)
    except Unbootable as fault:
        pytest.skip(f"no machine can be booted here: {fault}")
    try:
        try:
            booted.boot()
        except Unbootable as fault:
            pytest.skip(f"no machine can be booted here: {fault}")
        yield booted
    finally:
        booted.stop()


@pytest.fixture(scope="module")
def box(machine: Machine, package: Path) -> Machine:
    """A machine on which the appliance was installed and is ready."""
    machine.install(package)
    machine.wait_until_active()
    return machine
