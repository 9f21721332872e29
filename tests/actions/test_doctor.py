"""Every check of the doctor, once well and once ill."""

import os
import socket
from pathlib import Path

import msgspec

from appliance.actions.doctor import examine
from appliance.actions.findings import FAULT, OK, UNKNOWN, WARNING, Finding, Scene
from appliance.config import Config, Http

NOW = 1_800_000_000.0
HOUR = 3600.0
HEALTHY = {
    "status": "ok",
    "reasons": [],
    "uptime_seconds": 90_000.0,
    "models": [{"model": "a", "version": 1, "state": "ready", "is_active": True}],
    "database": {"state": "ok", "is_writable": True, "bytes": 1},
}


def scene(tmp_path: Path, **changes: object) -> Scene:
    """A healthy box, with whatever a test changes."""
    for name in ("state", "backups", "cache", "proc", "dev"):
        (tmp_path / name).mkdir(mode=0o750, exist_ok=True)
    cpuinfo = tmp_path / "proc" / "cpuinfo"
    if not cpuinfo.exists():
        cpuinfo.write_text("flags\t\t: fpu sse4_2 avx2\n", encoding="utf-8")
    healthy = Scene(
        config=Config(),
        state=tmp_path / "state",
        backups=tmp_path / "backups",
        cache=tmp_path / "cache",
        health=HEALTHY,
        newest_backup_seconds=NOW - HOUR,
        unit=lambda name: {"UnitFileState": "enabled", "NRestarts": "0"}.get(name, ""),
        now_seconds=NOW,
        proc=tmp_path / "proc",
        dev=tmp_path / "dev",
    )
    return msgspec.structs.replace(healthy, **changes)


def about(subject: str, findings: list[Finding]) -> list[Finding]:
    return [each for each in findings if each.subject == subject]


def test_a_healthy_box_has_nothing_wrong_with_it(tmp_path: Path) -> None:
    findings = examine(scene(tmp_path))
    assert {each.level for each in findings if each.subject != "disk"} == {OK}
    assert {each.subject for each in findings} >= {"service", "directories", "disk", "clock"}


def test_everything_that_is_wrong_comes_with_what_to_do(tmp_path: Path) -> None:
    ill = scene(tmp_path, health=None, newest_backup_seconds=None, now_seconds=5.0)
    for finding in examine(ill):
        assert finding.level == OK or finding.advice, finding


def test_a_silent_service_is_a_fault_and_systemd_is_quoted(tmp_path: Path) -> None:
    (found,) = about("service", examine(scene(tmp_path, health=None, unit=lambda _: "failed")))
    assert found.level == FAULT
    assert "failed" in found.text


def test_a_degraded_service_is_a_warning_with_its_reasons(tmp_path: Path) -> None:
    health = {"status": "degraded", "reasons": ["the disk is tight"]}
    (found,) = about("service", examine(scene(tmp_path, health=health)))
    assert found.level == WARNING
    assert "the disk is tight" in found.text


def test_a_disabled_unit_and_one_that_keeps_restarting_are_told(tmp_path: Path) -> None:
    facts = {"UnitFileState": "disabled", "NRestarts": "7"}
    found = about("unit", examine(scene(tmp_path, unit=lambda name: facts.get(name, ""))))
    assert [each.level for each in found] == [WARNING, WARNING]
    assert "disabled" in found[0].text
    assert "7 times" in found[1].text


def test_a_state_open_to_everybody_is_told(tmp_path: Path) -> None:
    ill = scene(tmp_path)
    ill.state.chmod(0o755)
    found = about("directories", examine(ill))
    assert [each.level for each in found] == [WARNING, OK]
    assert found[0].advice.startswith("chmod")


def test_a_missing_directory_is_a_fault(tmp_path: Path) -> None:
    ill = scene(tmp_path, state=tmp_path / "nowhere")
    assert about("directories", examine(ill))[0].level == FAULT


def test_a_stranger_s_file_in_the_state_is_a_fault(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # only root can make one
    ill = scene(tmp_path)
    (ill.state / "mine").touch()
    os.chown(ill.state / "mine", 1, 1)
    found = about("directories", examine(ill))
    assert found[-1].level == FAULT
    assert "mine" in found[-1].text


def test_a_taken_port_is_a_fault_only_while_we_do_not_have_it_ourselves(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = Config(http=Http(host="127.0.0.1", port=taken.getsockname()[1]))
        down = examine(scene(tmp_path, config=config, health=None))
        assert about("port", down)[0].level == FAULT
        assert about("port", examine(scene(tmp_path, config=config))) == []


def test_a_clock_of_the_last_century_is_a_fault(tmp_path: Path) -> None:
    assert about("clock", examine(scene(tmp_path, now_seconds=1000.0)))[0].level == FAULT


def test_a_processor_without_sse_4_2_is_a_fault_and_one_without_avx2_is_slow(
    tmp_path: Path,
) -> None:
    ill = scene(tmp_path)
    cpuinfo = ill.proc / "cpuinfo"
    cpuinfo.write_text("flags : fpu\n", encoding="utf-8")
    assert about("processor", examine(ill))[0].level == FAULT
    cpuinfo.write_text("flags : sse4_2\n", encoding="utf-8")
    assert about("processor", examine(ill))[0].level == WARNING


def test_a_gpu_whose_group_the_service_lacks_is_a_fault(tmp_path: Path) -> None:
    ill = scene(tmp_path, unit=lambda name: {"SupplementaryGroups": "nogroup"}.get(name, ""))
    (ill.dev / "dri").mkdir()
    (ill.dev / "dri" / "renderD128").touch()
    assert about("GPU and NPU", examine(ill))[0].level == FAULT
    hidden = scene(tmp_path, unit=lambda name: {"PrivateDevices": "yes"}.get(name, ""))
    assert about("GPU and NPU", examine(hidden))[0].level == OK


def test_an_old_backup_is_a_warning_and_none_at_all_only_on_an_old_box(tmp_path: Path) -> None:
    old = scene(tmp_path, newest_backup_seconds=NOW - 50 * HOUR)
    assert about("backup", examine(old))[0].level == WARNING
    never = scene(tmp_path, newest_backup_seconds=None)
    assert about("backup", examine(never))[0].level == WARNING
    fresh = {"status": "ok", "reasons": [], "uptime_seconds": 60.0}
    new = scene(tmp_path, newest_backup_seconds=None, health=fresh)
    assert about("backup", examine(new))[0].level == OK


def test_what_this_user_may_not_ask_or_see_is_told_as_that(tmp_path: Path) -> None:
    shut = scene(
        tmp_path,
        health=None,
        newest_backup_seconds=None,
        may_ask=False,
        may_see_backups=False,
    )
    findings = examine(shut)
    assert [each.level for each in about("service", findings)] == [UNKNOWN]
    assert [each.level for each in about("backup", findings)] == [UNKNOWN]
