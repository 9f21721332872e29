import os
import subprocess
import sys

PROGRAM = """
import os, socket, sys
socket.socket.connect = lambda *_: sys.exit("it called somewhere")
from appliance.host.openvino_import import ov
assert ov.Core().available_devices
print([name for name in sys.modules if "telemetry" in name and sys.modules[name]])
print("openvino.tools" in sys.modules)
print(len(os.listdir("/proc/self/task")))
"""


def test_importing_openvino_reports_nothing_and_starts_no_thread() -> None:
    program = PROGRAM.replace("assert ov.Core().available_devices\n", "")
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # as the nursery is started
    )
    assert found.stdout.split("\n")[:3] == ["[]", "False", "1"], found.stderr


def test_openvino_works_all_the_same() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
