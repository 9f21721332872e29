import inspect
import subprocess
import sys

import msgspec
import pytest

from appliance.errors import NotFound
from appliance.tasks.contract import Task
from appliance.tasks.registry import TASKS, task_named


def test_a_task_is_found_by_the_name_manifests_use() -> None:
    assert [task_named(task.name) for task in TASKS] == list(TASKS)


def test_an_unknown_task_is_told_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"'face-recognition'.*image-classification"):
        task_named("face-recognition")


def test_names_are_unique() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_task_keeps_the_contract(task: Task) -> None:
    for name, wanted in inspect.getmembers(Task, inspect.isfunction):
        if not name.startswith("_"):
            offered = list(inspect.signature(getattr(task, name)).parameters)
            assert offered == list(inspect.signature(wanted).parameters)[1:], name
    assert task.media_types
    assert all("/" in media_type for media_type in task.media_types)
    assert msgspec.convert({}, task.Params) == task.Params()
    for kind in (task.Params, task.Result):
        assert msgspec.json.schema(kind)["$defs"]


def test_the_front_imports_the_tasks_without_anything_heavy() -> None:
    program = (
        "import sys, appliance.tasks.registry\n"
        "print([name for name in ('numpy', 'PIL', 'openvino') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
