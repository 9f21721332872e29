"""What can be said of the package's files without building or booting anything."""

import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from appliance import config_file
from appliance.config_keys import all_keys

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
#: As redis-server of Debian 12, the best there is; systemd calls it "OK".
MOST_EXPOSURE_TENTHS = 12


def needs(program: str) -> str:
    """Return the path of a program, or skip and say which one is missing."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; scripts/test-package installs it")
    return found


def loaded(name: str) -> ModuleType:
    """Return a module of packaging/, which is no package."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_every_service_is_confined(unit: Path) -> None:
    analyze = needs("systemd-analyze")
    threshold = f"--threshold={MOST_EXPOSURE_TENTHS}"
    done = subprocess.run(
        [analyze, "security", "--offline=true", threshold, str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-600:]


def test_systemd_understands_every_unit() -> None:
    analyze = needs("systemd-analyze")
    units = [str(path) for path in (*UNITS, *sorted(SYSTEMD.glob("*.timer")))]
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    # What is missing here is only what the package brings: the program and its manual.
    foreign = re.compile(r"/usr/bin/inference-appliance is not executable|Command 'man |^$")
    complaints = [line for line in done.stderr.splitlines() if not foreign.search(line)]
    assert [line for line in complaints if "inference-appliance" in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_every_service_that_runs_the_program_may_be_read_about(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "Documentation=man:inference-appliance.service(8)" in text
    assert "ExecStart=/usr/bin/inference-appliance " in text


def test_the_shipped_configuration_file_sets_nothing() -> None:
    text = (ROOT / "etc" / "package" / "config.toml").read_text(encoding="utf-8")
    # So it never has to change, and an upgrade never has to ask.
    assert tomllib.loads(text) == {}


def test_the_package_s_own_places_are_valid_and_overruled_by_the_configuration(
    tmp_path: Path,
) -> None:
    below = ROOT / "etc" / "package" / "package.toml"
    mine = tmp_path / "config.toml"
    mine.write_text('[backup]\ndir = "/srv/backups"\n', encoding="utf-8")
    config = config_file.load(mine, {}, below=below)
    assert config.state.dir == "/var/lib/inference-appliance"
    assert config.backup.dir == "/srv/backups"


def test_cron_s_lines_act_only_where_systemd_is_not_the_first_process() -> None:
    text = (ROOT / "etc" / "cron.d" / "inference-appliance").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"[0-9*]", line)]
    assert len(lines) == 3
    for line in lines:
        _, command = line.split(None, 6)[5:]
        assert command.startswith("[ -d /run/systemd/system ] || ")
        assert "[ ! -x /usr/bin/inference-appliance ] || " in command


@pytest.mark.parametrize("has_systemd", [True, False])
def test_cron_s_backup_line_really_runs_or_really_does_not(
    tmp_path: Path, has_systemd: bool
) -> None:
    text = (ROOT / "etc" / "cron.d" / "inference-appliance").read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.endswith("backup >/dev/null"))
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/trace\n", encoding="utf-8")
    program.chmod(0o755)
    directory = tmp_path / "systemd"
    if has_systemd:
        directory.mkdir()
    command = line.split(None, 6)[6]
    command = command.replace("/run/systemd/system", str(directory))
    command = command.replace("/usr/bin/inference-appliance", str(program))
    subprocess.run(["sh", "-c", command], check=True)
    assert (tmp_path / "trace").exists() is not has_systemd


def test_the_log_is_rotated_without_copying_it() -> None:
    text = (ROOT / "etc" / "logrotate.d" / "inference-appliance").read_text(encoding="utf-8")
    rules = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    assert "copytruncate" not in rules
    assert "create 0640 inference-appliance adm" in rules


def test_purge_removes_only_fixed_places_and_never_the_backups() -> None:
    text = (ROOT / "debian" / "inference-appliance.postrm").read_text(encoding="utf-8")
    removals = re.findall(r"rm [^\n]*(?:\\\n[^\n]*)*", text)
    assert removals
    for removal in removals:
        assert "$" not in removal
        assert "/var/backups" not in removal
    assert "are kept" in text


def test_no_maintainer_script_reaches_for_the_network_or_asks() -> None:
    foreign = r"curl|wget|apt|debconf|^\s*read |chown -R|systemctl (?!--system daemon-reload)"
    for name in ("preinst", "postinst", "postrm"):
        text = (ROOT / "debian" / f"inference-appliance.{name}").read_text(encoding="utf-8")
        assert "#DEBHELPER#" in text
        assert not re.search(foreign, text, re.M)


def test_everything_that_is_installed_is_there() -> None:
    for name in ("install", "examples", "manpages"):
        lines = (ROOT / "debian" / name).read_text(encoding="utf-8").splitlines()
        for source in (line.split()[0] for line in lines if line):
            if not source.startswith("build/"):
                assert (ROOT / source).exists(), source


def test_the_supervised_programs_are_verbs_of_the_command_line() -> None:
    text = (ROOT / "etc" / "supervisord.conf").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^command=%\(ENV_APPLIANCE_COMMAND\)s ([a-z-]+)", text, re.MULTILINE))
    assert verbs == {"serve", "stream-gateway", "scheduler"}


def test_the_manual_s_generator_documents_every_key_and_verb() -> None:
    manuals = loaded("manuals")
    settings = manuals._settings_page()
    for key in all_keys():
        assert f".B {manuals._roff(key.name)}" in settings
    commands = manuals._command_page()
    for verb in ("serve", "keys create", "backup", "restore", "doctor", "drill"):
        assert f".SS appliance {verb}" in commands


def test_every_locked_wheel_has_a_known_licence() -> None:
    inventory = loaded_inventory()
    licences = tomllib.loads(inventory.TABLE.read_text(encoding="utf-8"))["licences"]
    wheels = list(inventory._wheels(licences))
    assert len(wheels) > 15
    assert [part.name for part in wheels if not part.licence] == []


def test_the_bill_of_materials_names_every_part_once(tmp_path: Path) -> None:
    inventory = loaded_inventory()
    parts = [
        inventory.Part("a", "1", "MIT", "https://a.example", "A", "wheel"),
        inventory.Part("b", "2", "Zlib", "", "B", "library", files=["libb.so 00"]),
    ]
    document = inventory._sbom(parts, "0.1.0")
    assert json.loads(json.dumps(document)) == document
    assert [each["name"] for each in document["components"]] == ["a", "b"]
    assert document["components"][0]["purl"] == "pkg:pypi/a@1"
    assert document == inventory._sbom(parts, "0.1.0")


def loaded_inventory() -> ModuleType:
    """Return packaging/inventory.py; its dataclass wants to find its module by name."""
    import sys

    name = "inventory"
    specification = importlib.util.spec_from_file_location(
        name, ROOT / "packaging" / "inventory.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["packaging/inference-appliance.service.8"])
def test_the_manual_pages_have_no_faults(page: str) -> None:
    man = needs("man")
    done = subprocess.run(
        [man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(ROOT / page)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_bash_understands_the_completion(tmp_path: Path) -> None:
    file = tmp_path / "completion"
    file.write_text(loaded("manuals")._COMPLETION, encoding="utf-8")
    subprocess.run([needs("bash"), "-n", str(file)], check=True)


def test_the_nginx_example_passes_what_the_appliance_accepts() -> None:
    text = (ROOT / "etc" / "nginx" / "inference-appliance.nginx").read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    for wanted in ("location /ws/", "X-Content-Type-Options", "Strict-Transport-Security"):
        assert wanted in text
