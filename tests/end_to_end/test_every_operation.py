"""The served OpenAPI document against the running appliance: schemathesis, all its checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.running import ROOT, Running

#: A larger number looks further, for a night; this one keeps within a minute.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "5")

_CONFIG = """
seed = 1
hooks = "tests/end_to_end/schemathesis_hooks.py"
warnings = false
headers = {{ "X-API-Key" = "${{ADMIN_KEY}}" }}
continue-on-failure = true
checks.not_a_server_error.expected-statuses = {expected}

# Whether bytes are a picture, a series or tensors that fit a model cannot be said in a schema, so
# what fits the schema is not always accepted: 415 and 422 are right for it.
{inputs}

# A stream that was ended stays to be read: whoever lost the last answer asks for it again.
[[operations]]
include-path = "/api/v1/streams/{{stream_id}}"
checks.use_after_free.enabled = false

# Shares that do not add up to 100 % fit the schema.
[[operations]]
include-path = "/api/v1/models/{{model}}/traffic"
checks.positive_data_acceptance.enabled = false

# 1.0 is an integer by JSON Schema; here it is a number that is none.
[[operations]]
include-path = "/api/v1/models/{{model}}/load"
checks.positive_data_acceptance.enabled = false
"""
_INPUTS = "\n".join(
    f'[[operations]]\ninclude-path = "{path}"\nchecks.positive_data_acceptance.enabled = false\n'
    for path in (
        "/api/v1/models",
        "/api/v1/models/inspect",
        "/api/v1/models/{model}/predict",
        "/api/v1/models/{model}/versions/{version}/predict",
        "/api/v1/streams",
        "/api/v1/streams/{stream_id}",
        "/api/vehicle/classify",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/{version}/infer",
        *(
            f"/v1/models/{{model}}{place}:{verb}"
            for place in ("", "/versions/{model_version}", "/labels/{label}")
            for verb in ("predict", "classify", "regress")
        ),
        "/v1/vision/detection",
        "/v1/vision/custom/{model}",
        "/v1/vision/scene",
        "/v1/vision/detect/scene",
        "/api/classify/image",
        "/api/classify/image/detect",
        "/api/classify/text",
        "/api/classify/text/batch",
        "/api/classify/batch",
        "/api/classify/batch/detect",
        "/api/v1/models/{model}/quantise",
    )
)
_UNLOAD = "/v2/repository/models/{model}/unload"
_NATIVE_UNLOAD = "/api/v1/models/{model}/unload"


@pytest.fixture
def checked(start_one: Start, tmp_path: Path) -> Running:
    """An appliance of its own, as this revokes keys and unloads models."""
    return start_one(MODELS__STARTER="true")


def schemathesis(running: Running, directory: Path, *options: str, expected: str) -> None:
    """Run schemathesis and fail with its report if it found anything."""
    config = directory / "schemathesis.toml"
    config.write_text(_CONFIG.format(expected=expected, inputs=_INPUTS))
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run"),
            *(f"{running.address}/openapi.json", "--max-examples", EXAMPLES, "--no-color"),
            *("--request-timeout", "60", "--suppress-health-check", "filter_too_much"),
            *options,
        ],
        cwd=ROOT,
        env={**os.environ, "ADMIN_KEY": running.key, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert running.process.poll() is None


@pytest.mark.timeout(4000)
def test_every_operation_keeps_its_own_document(checked: Running, tmp_path: Path) -> None:
    schemathesis(
        checked,
        tmp_path,
        "--exclude-path",
        _UNLOAD,
        "--exclude-path",
        _NATIVE_UNLOAD,
        expected='["2xx", "3xx", "4xx"]',
    )


@pytest.mark.timeout(4000)
def test_loading_and_unloading_keep_their_document(checked: Running, tmp_path: Path) -> None:
    schemathesis(
        checked,
        tmp_path,
        "--include-path-regex",
        "^/v2/repository|^/api/v1/models/.*load$",
        # 503 is the documented answer for a model that this very run has unloaded.
        expected='["2xx", "3xx", "4xx", "503"]',
    )
