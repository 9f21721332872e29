"""The Grafana dashboard, written as rows of panels; `etc/grafana/dashboard.json` is made of it.

Run it by hand after a change: `.venv/bin/python packaging/dashboard.py`. A test compares.
"""

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parent.parent / "etc" / "grafana" / "dashboard.json"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WHERE = 'job=~"$job", instance=~"$instance"'
_NODE = 'instance=~"$node"'
_P = "inference_appliance_"


def _rate(name: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({_P}{name}{{{_WHERE}{more}}}[$__rate_interval]))"


def _quantile(share: float, name: str, by: str) -> str:
    return f"histogram_quantile({share}, {_rate(name + '_bucket', by + ', le')})"


#: Title, description, unit, width of 24, kind and the queries with their legends.
_ROWS: list[tuple[str, list[tuple[str, str, str, int, str, dict[str, str]]]]] = [
    (
        "State",
        [
            (
                "Up",
                "1 while the appliance answers.",
                "none",
                4,
                "stat",
                {f"{_P}box_up{{{_NODE}}}": "{{instance}}"},
            ),
            (
                "Ready",
                "1 while every active model answers and the database takes writes.",
                "none",
                4,
                "stat",
                {f"{_P}ready{{{_WHERE}}}": "{{instance}}"},
            ),
            (
                "Age of the newest backup",
                "More than 26 hours raises an alert.",
                "s",
                4,
                "stat",
                {
                    f"time() - {_P}box_backup_last_success_timestamp_seconds{{{_NODE}}}": "{{instance}}"
                },
            ),
            (
                "Age of the last restore drill",
                "More than 9 days raises an alert.",
                "s",
                4,
                "stat",
                {
                    f"time() - {_P}box_drill_last_success_timestamp_seconds{{{_NODE}}}": "{{instance}}"
                },
            ),
            (
                "Restarts in a day",
                "Restarts of the service by systemd.",
                "none",
                4,
                "stat",
                {f"increase({_P}box_restarts_total{{{_NODE}}}[1d])": "{{instance}}"},
            ),
            (
                "Release",
                "What runs.",
                "none",
                4,
                "stat",
                {f"count by (version) ({_P}build_info{{{_WHERE}}})": "{{version}}"},
            ),
        ],
    ),
    (
        "Requests",
        [
            (
                "Request rate",
                "Answered HTTP requests by status.",
                "reqps",
                12,
                "timeseries",
                {_rate("requests_total", "status"): "{{status}}"},
            ),
            (
                "Share of errors",
                "5xx answers of all answers.",
                "percentunit",
                12,
                "timeseries",
                {
                    f"{_rate('requests_total', 'instance', chr(44) + ' status=~' + chr(34) + '5..' + chr(34))} / {_rate('requests_total', 'instance')}": "{{instance}}"
                },
            ),
            (
                "Latency",
                "Time from receiving a request to its answer.",
                "s",
                12,
                "timeseries",
                {
                    _quantile(0.5, "request_duration_seconds", "instance"): "median {{instance}}",
                    _quantile(0.99, "request_duration_seconds", "instance"): "99 % {{instance}}",
                },
            ),
            (
                "Refused",
                "Turned away, cut or limited, by reason.",
                "reqps",
                12,
                "timeseries",
                {
                    _rate("http_connections_rejected_total", "reason"): "turned away: {{reason}}",
                    _rate("http_connections_cut_total", "reason"): "cut: {{reason}}",
                    _rate("http_requests_rejected_total", "reason"): "rejected: {{reason}}",
                    _rate("rate_limited_total", "kind"): "rate limit: {{kind}}",
                },
            ),
        ],
    ),
    (
        "Models",
        [
            (
                "Inferences",
                "Calls of each model.",
                "reqps",
                8,
                "timeseries",
                {_rate("inference_requests_total", "model, outcome"): "{{model}} {{outcome}}"},
            ),
            (
                "Time inside OpenVINO",
                "99th percentile.",
                "s",
                8,
                "timeseries",
                {_quantile(0.99, "inference_duration_seconds", "model"): "{{model}}"},
            ),
            (
                "Time waiting for a model",
                "99th percentile.",
                "s",
                8,
                "timeseries",
                {_quantile(0.99, "queue_duration_seconds", "model"): "{{model}}"},
            ),
            (
                "Loaded",
                "1 while a version answers.",
                "none",
                8,
                "timeseries",
                {f"{_P}model_loaded{{{_WHERE}}}": "{{model}}@{{version}}"},
            ),
            (
                "Memory of models",
                "Resident memory of each model's process.",
                "bytes",
                8,
                "timeseries",
                {f"{_P}model_memory_bytes{{{_WHERE}}}": "{{model}}@{{version}}"},
            ),
            (
                "Restarts of models",
                "Processes started again, and why.",
                "none",
                8,
                "timeseries",
                {
                    f"increase({_P}host_restarts_total{{{_WHERE}}}[$__rate_interval])": "{{model}} {{reason}}"
                },
            ),
        ],
    ),
    (
        "Storage",
        [
            (
                "Database",
                "The file, its log and the size it may have.",
                "bytes",
                8,
                "timeseries",
                {
                    f"{_P}database_size_bytes{{{_WHERE}}}": "database",
                    f"{_P}database_wal_bytes{{{_WHERE}}}": "log",
                    f"{_P}database_quota_bytes{{{_WHERE}}}": "quota",
                },
            ),
            (
                "Recorded predictions",
                "Unrecorded ones were answered, but not kept.",
                "reqps",
                8,
                "timeseries",
                {
                    _rate("predictions_recorded_total", "instance"): "recorded",
                    _rate("predictions_unrecorded_total", "instance"): "unrecorded",
                },
            ),
            (
                "Backups",
                "Size of the newest.",
                "bytes",
                8,
                "timeseries",
                {f"{_P}box_backup_last_size_bytes{{{_NODE}}}": "{{instance}}"},
            ),
        ],
    ),
    (
        "Machine",
        [
            (
                "CPU",
                "Share of all cores by mode.",
                "percentunit",
                8,
                "timeseries",
                {
                    f'sum by (mode) (rate({_P}machine_cpu_seconds_total{{{_WHERE}, mode!="idle"}}[$__rate_interval])) / scalar(avg({_P}machine_cores{{{_WHERE}}}))': "{{mode}}"
                },
            ),
            (
                "Memory",
                "What can still be taken.",
                "bytes",
                8,
                "timeseries",
                {
                    f"{_P}machine_memory_available_bytes{{{_WHERE}}}": "available",
                    f"{_P}machine_memory_bytes{{{_WHERE}}}": "all",
                },
            ),
            (
                "Free disk",
                "By directory.",
                "bytes",
                8,
                "timeseries",
                {f"{_P}box_disk_free_bytes{{{_NODE}}}": "{{directory}}"},
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """Return the whole dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in _ROWS:
        panels.append(_row(title, len(panels) + 1, y))
        y += 1
        x, height = 0, 4 if row[0][4] == "stat" else 8
        for panel in row:
            if x + panel[3] > 24:
                x, y = 0, y + height
            panels.append(_panel(panel, len(panels) + 1, (x, y, panel[3], height)))
            x += panel[3]
        y += height
    return {
        "uid": "inference-appliance",
        "title": "Inference appliance",
        "description": "Requests, models, storage and machine of inference appliances.",
        "tags": ["inference-appliance"],
        "schemaVersion": 37,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    source = {
        "name": "datasource",
        "label": "Data Source",
        "type": "datasource",
        "query": "prometheus",
    }
    asked = (
        ("job", f"label_values({_P}up, job)"),
        ("instance", f'label_values({_P}up{{job=~"$job"}}, instance)'),
        ("node", f"label_values({_P}box_up, instance)"),
    )
    return [source] + [
        {
            "name": name,
            "label": name,
            "type": "query",
            "datasource": _SOURCE,
            "query": query,
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": "All", "value": "$__all"},
        }
        for name, query in asked
    ]


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": 24, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": title,
        "gridPos": place,
        "collapsed": False,
        "panels": [],
    }


def _panel(
    panel: tuple[str, str, str, int, str, dict[str, str]],
    number: int,
    place: tuple[int, int, int, int],
) -> dict[str, Any]:
    title, description, unit, _, kind, queries = panel
    return {
        "id": number,
        "type": kind,
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "gridPos": dict(zip("xywh", place, strict=True)),
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": chr(65 + index),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(queries.items())
        ],
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {PATH.name}")
