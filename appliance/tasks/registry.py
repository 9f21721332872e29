"""The kinds of task there are. A new one is one file beside this and one line below."""

from appliance.errors import NotFound
from appliance.tasks import (
    embedding,
    image_classification,
    object_detection,
    step_detection,
    text_classification,
)
from appliance.tasks.contract import Task

TASKS: tuple[Task, ...] = (
    image_classification.TASK,
    object_detection.TASK,
    step_detection.TASK,
    text_classification.TASK,
    embedding.TASK,
)

_by_name = {task.name: task for task in TASKS}


def task_named(name: str) -> Task:
    """Given a task's name, return the task; raise NotFound when there is none of that name."""
    try:
        return _by_name[name]
    except KeyError:
        known = ", ".join(sorted(_by_name))
        raise NotFound(f"There is no task {name!r}. Known tasks are: {known}.") from None
