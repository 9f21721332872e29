"""The package in a container without systemd: supervisor runs it, cron makes the backups."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.container import Container
from tests.package.machine import HANG_SECONDS, ROOT, Unbootable
from tests.package.test_service_life import PREDICT, STATE

BACKUPS = "/var/backups/inference-appliance"
USER = "inference-appliance"
LOG = "/root/supervisord.log"
CONTROL = "supervisorctl -c /usr/share/doc/inference-appliance/examples/supervisord.conf"
#: What the comment at the top of the file tells to type.
EXPORTS = "; ".join(
    re.findall(
        r"^#   (export APPLIANCE_\w+=\S+)$",
        (ROOT / "etc" / "supervisord.conf").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
PROGRAMS = {"inference-appliance": "serve", "stream-gateway": "stream-gateway"}


@pytest.fixture(scope="module")
def container(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    made = Container(tmp_path_factory.mktemp("container"))
    try:
        made.boot()
    except Unbootable as fault:
        pytest.skip(f"no container can be started here: {fault}")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def said(container: Container, package: Path) -> str:
    """What apt said when it installed the package there."""
    return container.install(package)


@pytest.fixture(scope="module")
def supervised(container: Container, said: str) -> Container:
    """The container with everything started by supervisor, as root, detached."""
    assert EXPORTS.count("export ") == 4
    container.run(
        f"{EXPORTS}; setsid supervisord"
        f" -c /usr/share/doc/inference-appliance/examples/supervisord.conf >{LOG} 2>&1 &"
    )
    wait_until_ready(container)
    return container


def wait_until_ready(container: Container) -> None:
    asked = "curl -s -o /dev/null -w '%{http_code}' http://localhost:8080/ready"
    try:
        container.wait_for(
            lambda: container.run(asked, is_checked=False).stdout == "200", "a ready appliance"
        )
    except AssertionError as fault:
        raise AssertionError(container.say(f"tail -n 40 {LOG}")) from fault


def process(container: Container, program: str) -> str:
    """Return the number of a program's process, empty while there is none."""
    asked = container.run(f"{EXPORTS}; {CONTROL} pid {program}", is_checked=False)
    found = asked.stdout.strip()
    return found if found.isdigit() and found != "0" else ""


def backups(container: Container) -> set[str]:
    return set(container.say(f"ls {BACKUPS} | grep 'backup$' || true").split())


def test_it_installs_starts_nothing_and_has_its_directories_and_its_user(
    container: Container, said: str
) -> None:
    assert container.run("test -d /run/systemd/system", is_checked=False).returncode != 0
    assert container.say("dpkg-query -W -f '${Status}' inference-appliance").endswith(" installed")
    lines = [line for line in said.splitlines() if line.startswith("inference-appliance: ")]
    assert len(lines) == 1
    owners = container.say(f"stat -c '%U %a' {STATE} {BACKUPS} /run/inference-appliance")
    assert owners.splitlines() == [f"{USER} 750", f"{USER} 750", f"{USER} 755"]
    assert container.say("pgrep -c inference || true") == "0"


def test_supervisor_runs_all_of_it_as_its_own_user_and_a_picture_is_classified(
    supervised: Container,
) -> None:
    answer = json.loads(supervised.say(PREDICT))
    assert answer["result"]["predictions"][0]["label"] == "truck"
    for program in PROGRAMS:
        assert supervised.say(f"ps -o user:32= -p {process(supervised, program)}") == USER
    assert process(supervised, "scheduler")
    assert supervised.say(f"find {STATE} ! -user {USER} | wc -l") == "0"
    assert supervised.run("curl -s http://localhost:8081/", is_checked=False).returncode == 0


def test_the_scheduler_makes_the_first_backup_and_the_facts_by_itself(
    supervised: Container,
) -> None:
    supervised.wait_for(lambda: bool(backups(supervised)), "the scheduler's first backup")
    (name,) = backups(supervised)
    assert "is sound" in supervised.say(f"appliance verify {BACKUPS}/{name}")
    facts = "/var/lib/prometheus/node-exporter/inference_appliance.prom"
    up = f"grep -qx 'inference_appliance_box_up 1.0' {facts}"
    supervised.wait_for(
        lambda: supervised.run(up, is_checked=False).returncode == 0, "the scheduler's facts"
    )
    assert supervised.say(f"stat -c %a {facts}") == "644"


@pytest.mark.parametrize("program", ["inference-appliance", "stream-gateway", "scheduler"])
def test_whatever_is_killed_is_back(supervised: Container, program: str) -> None:
    before = process(supervised, program)
    supervised.run(f"kill -9 {before}")
    supervised.wait_for(
        lambda: process(supervised, program) not in {"", before}, f"{program} to be back"
    )
    wait_until_ready(supervised)
    assert json.loads(supervised.say(PREDICT))["recorded"] is True


def test_cron_really_makes_the_backup_here(supervised: Container) -> None:
    crontab = "/etc/cron.d/inference-appliance"
    before = backups(supervised)
    supervised.run(f"cp -p {crontab} /root/crontab")
    # The line as it ships, but due in the next minute instead of in the next night.
    supervised.run(f"sed -i 's/^[0-9]* [0-9]* \\(. . . .* backup >\\)/* * \\1/' {crontab}")
    assert supervised.say(f"grep -c '^\\* \\* .*/inference-appliance backup' {crontab}") == "1"
    supervised.run("setsid cron")
    try:
        supervised.wait_for(lambda: bool(backups(supervised) - before), "cron's backup")
    finally:
        supervised.run(f"pkill -x cron; cp -p /root/crontab {crontab}")
    made = backups(supervised) - before
    assert supervised.say(f"stat -c %U {BACKUPS}/{min(made)}") == USER
    supervised.wait_for(
        lambda: supervised.run("pgrep -f 'applianc[e] backup'", is_checked=False).returncode != 0,
        "the end of cron's backup",
    )


def test_everything_stops_cleanly_and_starts_again_with_its_history(supervised: Container) -> None:
    identity = json.loads(supervised.say(PREDICT))["id"]
    supervised.run("kill $(cat /run/inference-appliance/supervisord.pid)")
    supervised.wait_for(
        lambda: supervised.say("pgrep -c 'supervisord|inference' || true") == "0",
        "the end of every process",
    )
    assert supervised.run("curl -s http://localhost:8080/live", is_checked=False).returncode == 7
    log = supervised.say(f"cat {LOG}")
    assert "SIGKILL" not in log.split("received SIGTERM")[-1], log[-2000:]
    supervised.run(
        f"{EXPORTS}; setsid supervisord"
        f" -c /usr/share/doc/inference-appliance/examples/supervisord.conf >{LOG} 2>&1 &"
    )
    wait_until_ready(supervised)
    shown = supervised.say(
        f'curl -sS -H "X-API-Key: $(cat {STATE}/admin-key)"'
        f" http://localhost:8080/api/v1/predictions/{identity}"
    )
    assert json.loads(shown)["id"] == identity


def test_a_purge_works_here_too_and_keeps_the_backups(supervised: Container) -> None:
    supervised.run("kill $(cat /run/inference-appliance/supervisord.pid)")
    supervised.wait_for(
        lambda: supervised.say("pgrep -c 'supervisord|inference' || true") == "0", "a stop"
    )
    told = supervised.say("DEBIAN_FRONTEND=noninteractive apt-get purge -y inference-appliance")
    assert f"the backups in {BACKUPS} are kept" in told
    assert backups(supervised)
    places = f"{STATE} /etc/inference-appliance /var/log/inference-appliance"
    assert (
        supervised.say(f"ls -d {places} /etc/cron.d/inference-appliance 2>/dev/null; true") == ""
    )


def test_the_file_is_the_one_that_runs_a_checkout_too() -> None:
    run = (ROOT / "scripts" / "run").read_text(encoding="utf-8")
    assert "etc/supervisord.conf" in run
    for name in re.findall(r"%\(ENV_(\w+)\)s", (ROOT / "etc" / "supervisord.conf").read_text()):
        assert name in run
        assert name in EXPORTS
    subprocess.run(["bash", "-n", ROOT / "scripts" / "run"], check=True, timeout=HANG_SECONDS)
