"""The alerts, the recording rules and the dashboard: checked by their own tools and against us."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance import metrics
from appliance.metric_families import Family
from tests.package.test_files import loaded, needs

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "etc" / "prometheus"
DASHBOARD = ROOT / "etc" / "grafana" / "dashboard.json"
#: Metrics that are not of the appliance's own process.
FOREIGN = re.compile(r"^inference_appliance_(box_\w*|up|build_info)$")


def test_promtool_accepts_the_rules() -> None:
    promtool = needs("promtool")
    files = [str(RULES / "rules.yaml"), str(RULES / "alerts.yaml")]
    done = subprocess.run([promtool, "check", "rules", *files], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tests", ["alerts_test.yaml", "slow_alerts_test.yaml"])
def test_the_alerts_fire_when_they_should_and_not_before(tmp_path: Path, tests: str) -> None:
    promtool = needs("promtool")
    for name in ("rules.yaml", "alerts.yaml"):
        shutil.copy(RULES / name, tmp_path)
    shutil.copy(Path(__file__).with_name(tests), tmp_path)
    done = subprocess.run(
        [promtool, "test", "rules", tests],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [RULES / "rules.yaml", RULES / "alerts.yaml", DASHBOARD])
def test_only_metrics_that_exist_are_asked_for(path: Path) -> None:
    asked = set(re.findall(r"\binference_appliance_[a-z0-9_]+", path.read_text(encoding="utf-8")))
    families = {f"inference_appliance_{name}" for name in known_metrics()}
    unknown = []
    for name in asked:
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        recorded = f":{name}:" in path.read_text(encoding="utf-8")
        if not (FOREIGN.match(name) or base in families or name in families or recorded):
            unknown.append(name)
    assert unknown == []


def known_metrics() -> set[str]:
    """Return every name that metrics.py declares, as Prometheus shows it."""
    names: set[str] = set()
    for value in vars(metrics).values():
        if isinstance(value, dict) and all(isinstance(each, Family) for each in value.values()):
            names |= set(value)
    assert "requests_total" in names
    return names


def test_every_alert_says_what_it_means_and_how_bad_it_is() -> None:
    text = (RULES / "alerts.yaml").read_text(encoding="utf-8")
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) > 10
    for alert in alerts:
        assert alert.startswith("InferenceAppliance")
        assert re.search(r"severity: (critical|warning|info)", alert)
        assert re.search(r"summary: [A-Z].*\.\n", alert)
        assert "description:" in alert


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def test_the_dashboard_is_the_one_its_source_describes() -> None:
    assert json.loads(DASHBOARD.read_text(encoding="utf-8")) == loaded("dashboard").dashboard()


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_query_asks_only_for_the_chosen_machines() -> None:
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            assert "$instance" in expression or "$node" in expression
            for window in re.findall(r"rate\([^\[]*\[([^\]]+)\]", expression):
                assert window == "$__rate_interval"
