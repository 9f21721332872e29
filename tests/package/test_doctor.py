"""The doctor on a real box: who has the port and the state, the firewall, and its archive."""

import json
import tarfile

import pytest

from tests.package.machine import Machine
from tests.package.test_service_life import PREDICT, STATE

#: A machine with ufw, beside other tools.
FLAVOUR = "tools"
RUNTIME = "/run/inference-appliance"


def about(machine: Machine, subject: str, *, as_user: str = "") -> list[dict[str, str]]:
    """Return what the doctor finds of one subject."""
    command = "appliance doctor --json"
    if as_user:
        command = f"setpriv --reuid={as_user} --regid={as_user} --clear-groups {command}"
    found: list[dict[str, str]] = json.loads(machine.run(command, is_checked=False).stdout)
    return [each for each in found if each["subject"] == subject]


def test_on_a_healthy_box_every_line_can_be_read_aloud(box: Machine) -> None:
    done = box.run("appliance doctor", is_checked=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert "FAULT" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    assert all(line.rstrip().endswith(".") for line in lines), lines
    for subject in ("service", "unit", "directories", "disk", "instance", "firewall", "clock"):
        assert any(f"  {subject}: " in line for line in lines), (subject, lines)


def test_the_one_process_that_uses_the_state_is_named(box: Machine) -> None:
    (found,) = about(box, "instance")
    assert found["level"] == "ok"
    assert f"Process {box.unit('MainPID')} " in found["text"]


def test_a_second_appliance_beside_the_service_is_found_with_what_ends_it(box: Machine) -> None:
    box.run("systemctl stop inference-appliance inference-appliance-stream")
    box.run(f"install -d -o inference-appliance -m 0755 {RUNTIME}")
    box.run(
        "systemd-run --unit=by-hand -p User=inference-appliance"
        " -p Environment=HOME=/tmp /usr/bin/appliance serve"
    )
    try:
        box.wait_for(
            lambda: box.run("curl -sf localhost:8080/ready", is_checked=False).returncode == 0,
            "the second appliance",
        )
        (found,) = about(box, "instance")
        assert found["level"] == "warning"
        assert "by-hand.service" in found["text"]
        assert found["advice"] == (
            "systemctl stop by-hand.service; systemctl restart inference-appliance"
        )
        # The service itself says the same and names the process.
        box.run("systemctl start inference-appliance", is_checked=False)
        assert "is in use by another appliance, process" in box.journal()
        box.run(found["advice"])
    finally:
        box.run("systemctl stop by-hand.service", is_checked=False)
        box.run("systemctl start inference-appliance inference-appliance-stream")
    assert about(box, "instance")[0]["level"] == "ok"
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_whoever_has_the_port_is_named_and_ended_by_what_is_advised(box: Machine) -> None:
    box.run("systemctl stop inference-appliance")
    box.run("systemd-run --unit=squatter python3 -m http.server 8080")
    try:
        box.wait_for(
            lambda: box.run("curl -s localhost:8080", is_checked=False).returncode == 0, "the port"
        )
        box.run("systemctl start inference-appliance --no-block")
        (found,) = about(box, "port")
        assert found["level"] == "fault"
        assert "Port 8080 is taken by python3 -m http.server 8080" in found["text"]
        assert found["advice"].startswith("systemctl stop squatter.service; or set http.port")
        box.run("systemctl stop squatter.service")
        box.wait_until_active()  # it tried again by itself
    finally:
        box.run("systemctl stop squatter.service", is_checked=False)
    assert json.loads(box.say(PREDICT))["recorded"] is True


@pytest.fixture
def ufw(box: Machine) -> Machine:
    """The machine with its firewall on; it lets in what the test tells it to."""
    if box.run("command -v ufw", is_checked=False).returncode:
        pytest.skip("this root has no ufw")
    on = box.run("ufw --force enable", is_checked=False)
    if on.returncode:
        pytest.skip(f"ufw cannot be enabled in this container: {on.stderr.strip()[-200:]}")
    return box


def test_a_firewall_that_keeps_clients_away_is_told_until_its_profile_is_allowed(
    ufw: Machine,
) -> None:
    try:
        (found,) = about(ufw, "firewall")
        assert found["level"] == "warning"
        assert "ufw lets no client in to port 8080" in found["text"]
        assert found["advice"] == "ufw allow 8080/tcp"
        ufw.run("ufw allow InferenceAppliance")
        (found,) = about(ufw, "firewall")
        assert found["level"] == "ok", found
        ufw.run("ufw delete allow InferenceAppliance")
        ufw.run(f"{'ufw allow 8080/tcp'}")
        assert about(ufw, "firewall")[0]["level"] == "ok"
    finally:
        ufw.run("ufw --force reset; ufw disable", is_checked=False)


def test_without_rights_it_says_what_only_root_may_see(box: Machine) -> None:
    (found,) = about(box, "firewall", as_user="65534")
    assert found["level"] == "unknown"
    assert "root" in found["text"]


def test_the_archive_for_support_holds_no_secret(box: Machine) -> None:
    device = box.say("appliance keys create camera --role device")
    secrets = {box.say(f"cat {STATE}/admin-key")}
    secrets |= {word.strip(".,") for word in device.split() if word.startswith("iak_")}
    assert len(secrets) == 2, device
    # Where secrets end up by mistake: a drop-in, a comment, an address that is logged.
    box.run(
        "mkdir -p /run/systemd/system/inference-appliance.service.d; printf"
        " '[Service]\\nEnvironment=UPLOAD_PASSWORD=hunter2hunter2\\n'"
        " > /run/systemd/system/inference-appliance.service.d/mine.conf; systemctl daemon-reload"
    )
    for secret in secrets:
        box.run(f"curl -s 'http://localhost:8080/api/v1/models?key={secret}'", is_checked=False)
        box.run(f"echo 'the key is {secret}' | systemd-cat -t inference-appliance")
    box.run("cd /root; appliance doctor --bundle support.tar.gz", is_checked=False)
    box.run("rm -r /run/systemd/system/inference-appliance.service.d; systemctl daemon-reload")
    bundle = box.root / "root" / "support.tar.gz"
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        texts = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            texts[member.name.rpartition("/")[2]] = file.read().decode()
    assert {"findings.json", "config.toml", "journal.txt", "unit.txt"} <= texts.keys()
    assert texts["journal.txt"].strip()
    for name, text in texts.items():
        for secret in (*secrets, "hunter2hunter2"):
            assert secret not in text, name
            assert secret.rpartition("_")[2] not in text, name
    assert not any(name.endswith(("admin-key", "admin.key", ".db")) for name in texts)
