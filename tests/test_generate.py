"""Generated files are what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_generated_files_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/generate", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_an_unknown_option_is_refused() -> None:
    refused = subprocess.run(
        [sys.executable, "scripts/generate", "--chekc"], cwd=ROOT, capture_output=True, timeout=100
    )
    assert refused.returncode == 2
