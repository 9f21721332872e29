"""What every kind of task owes the front, the hosts and the history; new ones are tested too."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import appliance
from appliance.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia
from appliance.library.manifest import Input, Manifest, Output, read_labels, read_manifest
from appliance.tasks.contract import Limits, Model, NoState, Payload, Task, Turn
from appliance.tasks.registry import TASKS
from tests.tiny_models import picture

STARTERS = Path(appliance.__file__).parent / "starter"
#: The shape of the only input of each task's shipped model, which a host would ask OpenVINO for.
SHAPES: dict[str, Callable[[dict[str, Any]], list[int]]] = {
    "image-classification": lambda settings: [1, 32, 32, 3],
    "step-detection": lambda settings: [-1, 3, int(settings["window"])],
}
READINGS = [{"t": number / 50, "ax": 0.0, "ay": 0.0, "az": 9.81} for number in range(200)]


def text_model(task: str) -> Model:
    """Return a model without a tokenizer: it reads the bytes of a text."""
    return Model(
        manifest=Manifest(
            manifest_version=1,
            name="text",
            version=1,
            task=task,
            inputs=(Input(tensor="input_ids"), Input(tensor="attention_mask")),
            outputs=(Output(tensor="mood", labels="labels.txt"),),
        ),
        labels={"mood": ("bad", "good")},
        input_shapes={"input_ids": [-1, 64], "attention_mask": [-1, 64]},
        output_shapes={"mood": [-1, 2]},
    )


#: Models of tasks for which none ships: manifest, labels and shapes.
UNSHIPPED: dict[str, Callable[[], Model]] = {
    "object-detection": lambda: Model(
        manifest=Manifest(
            manifest_version=1,
            name="detector",
            version=1,
            task="object-detection",
            inputs=(Input(tensor="image", layout="NCHW", resize="letterbox"),),
            outputs=(Output(tensor="boxes", decoder="yolov8", labels="labels.txt"),),
        ),
        labels={"boxes": ("cat", "dog")},
        input_shapes={"image": [1, 32, 32, 3]},
        output_shapes={"boxes": [1, 6, 21]},
        limits=Limits(image_pixels=100_000),
    ),
    "text-classification": lambda: text_model("text-classification"),
    "embedding": lambda: text_model("embedding"),
}
TEXTS = [
    Payload("A quiet room – very clean.".encode(), "text/plain"),
    Payload(b'{"text": "Good."}', "application/json"),
    Payload(b'{"texts": ["Good.", "It never worked, not even once."]}', "application/json"),
]
#: Something each task understands; what is broken is made of it.
PICTURES = [
    Payload(picture("red", format=form), f"image/{form.lower()}")
    for form in ("PNG", "JPEG", "GIF")
]
SAMPLES = {
    "image-classification": PICTURES,
    "object-detection": PICTURES,
    "text-classification": TEXTS,
    "embedding": TEXTS,
    "step-detection": [
        Payload(json.dumps({"readings": READINGS}).encode(), "application/json"),
        Payload(b"t,ax,ay,az\n0,0,0,9.81\n0.02,0,0,9.81\n", "text/csv"),
    ],
}
ALLOWED = (InvalidInput, UnsupportedMedia, PayloadTooLarge)

each = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def model_of(task: Task) -> Model:
    """Return a model the task works for, described by the manifest that ships."""
    for directory in sorted(STARTERS.glob("*/1")):
        manifest = read_manifest(directory)
        if manifest.task == task.name:
            return Model(
                manifest=manifest,
                labels=read_labels(directory, manifest),
                input_shapes={manifest.inputs[0].tensor: SHAPES[task.name](manifest.settings)},
                limits=Limits(image_pixels=100_000),
            )
    return UNSHIPPED[task.name]()


@each
def test_names_and_titles_are_fit_for_manifests_and_people(task: Task) -> None:
    assert re.fullmatch(r"[a-z][a-z-]{1,40}", task.name)
    assert task.title[0].isupper()
    assert len(task.title) > 3


@each
def test_media_types_are_as_payloads_have_them(task: Task) -> None:
    assert task.media_types
    assert len(set(task.media_types)) == len(task.media_types)
    for media in task.media_types:
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", media)
        assert media != "multipart/form-data", "forms are opened before a task sees their file"


@each
def test_what_a_caller_chooses_is_frozen_complete_and_strict(task: Task) -> None:
    assert issubclass(task.Params, msgspec.Struct)
    assert task.Params.__struct_config__.frozen
    assert task.Params.__struct_config__.forbid_unknown_fields
    assert msgspec.convert({}, task.Params) == task.Params()


@each
def test_parameters_come_as_text_and_are_described(task: Task) -> None:
    properties = msgspec.json.schema(task.Params)["$defs"][task.Params.__name__]["properties"]
    assert properties
    for name, schema in properties.items():
        assert "description" in json.dumps(schema), name
    defaults = msgspec.to_builtins(task.Params())
    as_text = {name: str(value) for name, value in defaults.items() if value is not None}
    assert msgspec.convert(as_text, task.Params, strict=False) == task.Params()


@each
def test_what_a_turn_answers_is_a_frozen_struct(task: Task) -> None:
    assert issubclass(task.Result, msgspec.Struct)
    assert task.Result.__struct_config__.frozen


@each
def test_schemas_for_the_api_document_can_be_made(task: Task) -> None:
    for kind in (task.Params, task.Result):
        schema = msgspec.json.schema(kind)
        assert jsonschema_rs.meta.is_valid(schema)
        assert kind.__name__ in schema["$defs"]


@each
def test_the_shipped_model_is_one_the_task_can_use(task: Task) -> None:
    task.check(model_of(task))


@each
def test_a_new_session_survives_a_msgpack_round_trip(task: Task) -> None:
    assert issubclass(task.State, msgspec.Struct)
    state = task.open(task.Params(), model_of(task))
    assert isinstance(state, task.State)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=task.State) == state


@each
def test_a_session_with_a_past_survives_a_msgpack_round_trip(task: Task) -> None:
    """And goes on as if nothing had happened: the same turn follows."""
    model, params = model_of(task), task.Params()
    state = task.open(params, model)
    task.decode(SAMPLES[task.name][0], params, state, model)
    packed = msgspec.msgpack.encode(state)
    copy = msgspec.msgpack.decode(packed, type=task.State)
    assert msgspec.msgpack.encode(copy) == packed
    assert shape_of(task.flush(params, copy, model)) == shape_of(task.flush(params, state, model))


def shape_of(turn: Turn) -> list[dict[str, tuple[int, ...]]]:
    return [{name: array.shape for name, array in one.items()} for one in turn.inputs]


@each
def test_decoding_makes_requests_for_the_models_tensors(task: Task) -> None:
    model, params = model_of(task), task.Params()
    for sample in SAMPLES[task.name]:
        turn = task.decode(sample, params, task.open(params, model), model)
        for tensors in turn.inputs:
            assert set(tensors) == set(model.input_shapes)
            for name, array in tensors.items():
                wanted = model.input_shapes[name]
                assert array.ndim == len(wanted)
                assert list(array.shape[1:]) == list(wanted[1:])


def refused_or_decoded(task: Task, payload: Payload) -> None:
    """Decode; if it is refused, by the right kind of problem and with the state as it was."""
    model, params = model_of(task), task.Params()
    state = task.open(params, model)
    before = msgspec.msgpack.encode(state)
    refused = ""
    try:
        task.decode(payload, params, state, model)
    except ALLOWED as problem:
        refused = problem.detail or "without a word"
    if refused:
        assert refused != "without a word"
        assert msgspec.msgpack.encode(state) == before


quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@each
@quick
@given(data=st.data())
def test_garbage_is_refused_and_leaves_the_state_as_it_was(
    task: Task, data: st.DataObject
) -> None:
    media = data.draw(st.sampled_from([*task.media_types, "", "text/html", "image/svg+xml"]))
    body = data.draw(
        st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | json_like.map(encoded)
    )
    refused_or_decoded(task, Payload(body, media))


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["readings", "t", "ax", "ay", "az", "x", "text", "texts"]), inner
        )
    ),
    max_leaves=12,
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@each
@quick
@given(data=st.data())
def test_damaged_inputs_are_refused_or_understood(task: Task, data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(SAMPLES[task.name]))
    body = bytearray(sample.body)
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    media = data.draw(st.sampled_from(task.media_types) | st.just(sample.content_type))
    refused_or_decoded(task, Payload(bytes(body[:length]), media))


@each
def test_a_payload_may_be_any_buffer(task: Task) -> None:
    model, params = model_of(task), task.Params()
    sample = SAMPLES[task.name][0]
    shapes = [
        shape_of(
            task.decode(
                Payload(kind(sample.body), sample.content_type),
                params,
                task.open(params, model),
                model,
            )
        )
        for kind in (bytes, bytearray, memoryview)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@each
def test_a_module_of_a_task_imports_nothing_heavy(task: Task) -> None:
    program = (
        f"import sys, {type(task).__module__}\n"
        "print([name for name in ('numpy', 'PIL', 'openvino') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_tasks_without_a_memory_share_an_empty_state() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(NoState()), type=NoState) == NoState()
    assert NoState.__struct_fields__ == ()
