"""What an admin expects of the installed service, on a machine with a real systemd."""

import http.client
import json
import re
import time
from pathlib import Path

import pytest

from tests.package.machine import Machine

STATE = "/var/lib/inference-appliance"
PREDICT = (
    f'curl -sS -H "X-API-Key: $(cat {STATE}/admin-key)" -H "Content-Type: image/jpeg"'
    " --data-binary @/usr/share/doc/inference-appliance/examples/truck.jpg"
    " http://localhost:8080/api/v1/models/vehicle-type/predict"
)


@pytest.fixture(scope="module")
def installed(machine: Machine, package: Path) -> tuple[Machine, str, float]:
    """A machine right after the installation, what apt said, and how long ready took after it."""
    said = machine.install(package)
    began = time.monotonic()
    machine.wait_until_active()
    return machine, said, time.monotonic() - began


def test_after_the_installation_it_is_active_within_ten_seconds_and_says_what_it_serves(
    installed: tuple[Machine, str, float],
) -> None:
    machine, _, seconds = installed
    assert seconds < 10
    status = machine.say("systemctl status inference-appliance --no-pager")
    assert "active (running)" in status
    assert re.search(r'Status: "Serving .*vehicle-type@1', status)


def test_one_line_of_the_installation_says_where_the_key_is_and_what_to_type_next(
    installed: tuple[Machine, str, float],
) -> None:
    lines = [
        line for line in installed[1].splitlines() if line.startswith("inference-appliance: ")
    ]
    assert len(lines) == 1
    assert f"{STATE}/admin-key" in lines[0]
    assert "appliance doctor" in lines[0]


def test_the_key_from_the_printed_place_classifies_a_picture(box: Machine) -> None:
    answer = json.loads(box.say(PREDICT))
    assert answer["result"]["predictions"][0]["label"] == "truck"
    assert answer["recorded"] is True


def test_there_is_no_network_and_nothing_tries_to_use_one(box: Machine) -> None:
    assert box.say("ip -br link | grep -cv '^lo '; true") == "0"
    opened = box.say(
        "for p in $(pgrep -u inference-appliance); do"
        " grep -l . /proc/$p/net/tcp >/dev/null; done;"
        " ss -tnH state syn-sent | wc -l"
    )
    assert opened == "0"


def test_the_command_line_of_root_reaches_the_service_without_any_option(box: Machine) -> None:
    assert "admin" in box.say("appliance keys list")
    assert "/var/lib/inference-appliance" in box.say("inference-appliance config show")


def test_stop_closes_the_port_and_start_opens_it(box: Machine) -> None:
    box.run("systemctl stop inference-appliance")
    assert box.run("curl -s http://localhost:8080/live", is_checked=False).returncode == 7
    box.run("systemctl start inference-appliance")
    assert json.loads(box.say(PREDICT))["recorded"] is True


def test_a_restart_under_load_loses_no_request(box: Machine) -> None:
    load = box.hammer(14)
    time.sleep(2)  # the load is under way
    box.run("systemctl restart inference-appliance")
    result = load.done()
    print(f"restart: {result}")
    assert result["failed"] == 0, result
    assert result["answered"] > 20


def test_a_killed_service_is_back_by_itself_and_clients_only_wait(box: Machine) -> None:
    before = int(box.unit("NRestarts"))
    load = box.hammer(14, threads=2)
    time.sleep(2)  # the load is under way
    box.run("systemctl kill --kill-who=main -s KILL inference-appliance")
    result = load.done()
    print(f"kill -9: {result}")
    assert int(box.unit("NRestarts")) == before + 1
    # What was being answered at that moment is lost; nothing else is.
    assert result["failed"] <= 2, result


def test_a_hung_service_is_ended_by_the_watchdog_and_started_again(box: Machine) -> None:
    box.run("mkdir -p /run/systemd/system/inference-appliance.service.d")
    box.run(
        "printf '[Service]\\nWatchdogSec=6\\n' >"
        " /run/systemd/system/inference-appliance.service.d/quick.conf; systemctl daemon-reload"
    )
    box.run("systemctl restart inference-appliance")
    before = int(box.unit("NRestarts"))
    box.run(f"kill -STOP {box.unit('MainPID')}")
    box.wait_for(lambda: int(box.unit("NRestarts")) == before + 1, "a restart by the watchdog")
    box.wait_until_active()
    assert "Watchdog timeout" in box.journal(lines=1000)
    assert json.loads(box.say(PREDICT))["recorded"] is True
    box.run("rm -r /run/systemd/system/inference-appliance.service.d; systemctl daemon-reload")


def test_a_reload_changes_what_it_can_and_names_the_rest(box: Machine) -> None:
    changed = "/etc/inference-appliance/conf.d/changed.toml"
    before = box.unit("MainPID")
    box.run(f"printf '[log]\\nlevel = \"debug\"\\n[limits]\\nwaiting = 77\\n' > {changed}")
    try:
        box.run("systemctl reload inference-appliance")
        journal = box.journal()
        assert "In force now: log.level." in journal
        assert "Needs a restart: limits.waiting." in journal
        assert box.unit("MainPID") == before
    finally:
        box.run(f"rm {changed}; systemctl reload inference-appliance")


def test_a_reload_of_a_wrong_configuration_fails_and_the_service_goes_on(box: Machine) -> None:
    wrong = "/etc/inference-appliance/conf.d/wrong.toml"
    before = box.unit("MainPID")
    box.run(f"printf '[http]\\nprot = 1\\n' > {wrong}")
    try:
        assert box.run("systemctl reload inference-appliance", is_checked=False).returncode != 0
        assert "prot" in box.journal()
        assert box.unit("MainPID") == before
        assert json.loads(box.say(PREDICT))["recorded"] is True
    finally:
        box.run(f"rm {wrong}")


def test_a_wrong_configuration_fails_at_once_and_is_not_tried_again(box: Machine) -> None:
    wrong = "/etc/inference-appliance/conf.d/wrong.toml"
    box.run(f"printf '[http]\\nprot = 1\\n' > {wrong}")
    try:
        box.run("systemctl restart inference-appliance", is_checked=False)
        assert box.unit("ActiveState") == "failed"
        assert box.unit("ExecMainStatus") == "78"
        assert "Did you mean port?" in box.journal()
    finally:
        box.run(f"rm {wrong}; systemctl start inference-appliance")


def test_another_port_in_the_configuration_is_listened_on_after_a_restart(box: Machine) -> None:
    box.run("printf '[http]\\nport = 9000\\n' > /etc/inference-appliance/conf.d/port.toml")
    try:
        box.run("systemctl restart inference-appliance")
        assert (
            box.say("curl -s -o /dev/null -w '%{http_code}' http://localhost:9000/live") == "200"
        )
        assert box.run("curl -s http://localhost:8080/live", is_checked=False).returncode == 7
    finally:
        box.run("rm /etc/inference-appliance/conf.d/port.toml")
        box.run("systemctl restart inference-appliance")


def test_a_reboot_brings_it_back_with_its_keys_and_history(box: Machine) -> None:
    key = box.say(f"cat {STATE}/admin-key")
    boot = box.say("cat /proc/sys/kernel/random/boot_id; journalctl --list-boots | wc -l")
    box.boot_again()
    box.wait_until_active()
    assert box.say(f"cat {STATE}/admin-key") == key
    assert json.loads(box.say(PREDICT))["recorded"] is True
    assert boot


def test_the_backup_unit_makes_a_checked_backup_and_the_drill_restores_it(box: Machine) -> None:
    box.run("systemctl start inference-appliance-backup.service")
    name = box.say("ls /var/backups/inference-appliance | grep backup$ | tail -1")
    assert "is sound" in box.say(f"appliance verify /var/backups/inference-appliance/{name}")
    box.run("systemctl start inference-appliance-verify.service")
    result = json.loads(box.say(f"cat {STATE}/drill.json"))
    assert result["is_success"] is True, result
    assert result["backup"] == name


def test_the_facts_reach_the_real_node_exporter_and_survive_the_service(box: Machine) -> None:
    box.run("systemctl restart prometheus-node-exporter")
    box.run("systemctl start inference-appliance-metrics.service")
    scraped = box.say("curl -s http://localhost:9100/metrics | grep ^inference_appliance_box_")
    assert "inference_appliance_box_up 1.0" in scraped or "inference_appliance_box_up 1" in scraped
    assert "inference_appliance_box_restarts_total" in scraped
    box.run("systemctl stop inference-appliance")
    try:
        box.run("systemctl start inference-appliance-metrics.service")
        scraped = box.say("curl -s http://localhost:9100/metrics | grep ^inference_appliance_box_")
        facts = dict(line.rsplit(" ", 1) for line in scraped.splitlines())
        assert float(facts["inference_appliance_box_up"]) == 0
        assert float(facts["inference_appliance_box_backup_last_success_timestamp_seconds"]) > 1e9
        assert "node_textfile_scrape_error 0" in box.say(
            "curl -s http://localhost:9100/metrics | grep ^node_textfile_scrape_error"
        )
    finally:
        box.run("systemctl start inference-appliance")


def test_no_line_is_lost_when_the_log_is_rotated_under_load(box: Machine) -> None:
    log = "/var/log/inference-appliance/appliance.log"
    box.run(
        f"printf '[log]\\nfile = \"{log}\"\\nlines_per_second = 100000\\n'"
        " > /etc/inference-appliance/conf.d/log.toml; systemctl restart inference-appliance"
    )
    load = box.hammer(6, threads=2)
    for _ in range(3):
        time.sleep(1)  # some lines between the rotations
        box.run("logrotate -f /etc/logrotate.d/inference-appliance")
    result = load.done()
    lines = box.say("cd /var/log/inference-appliance; (zcat -f appliance.log*) | grep -c /predict")
    box.run("rm /etc/inference-appliance/conf.d/log.toml; systemctl restart inference-appliance")
    assert int(lines) == result["answered"] + result["failed"], result


def test_every_timer_is_waiting(box: Machine) -> None:
    listed = box.say("systemctl list-timers --all --no-pager")
    for name in ("backup", "verify", "metrics"):
        assert f"inference-appliance-{name}.timer" in listed


def test_the_doctor_finds_nothing_wrong(box: Machine) -> None:
    report = box.run("appliance doctor", is_checked=False)
    assert report.returncode == 0, report.stdout + report.stderr


def test_http_is_all_that_listens(box: Machine) -> None:
    listening = box.say("ss -tlnH | awk '{print $4}'").split()
    ports = {int(each.rsplit(":", 1)[1]) for each in listening}
    assert ports <= {8080, 8081, 9100}
    assert http.client.HTTP_PORT not in ports
