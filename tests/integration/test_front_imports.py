import subprocess
import sys

import pytest

PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
heavy = {"openvino", "PIL", "numpy"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules if sys.modules[name]}))
"""


@pytest.mark.parametrize("module", ["appliance.core", "appliance.web.app", "appliance.cli"])
def test_the_front_never_imports_what_parses_untrusted_bytes(module: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, timeout=100
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"
