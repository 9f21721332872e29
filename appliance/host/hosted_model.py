"""What a host does with one call: predict, infer raw tensors, answer the canary."""

import errno
import time
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import Internal, ModelInvalid, NotFound, Problem
from appliance.host import golden, open_inference, tensorflow_serving, turns
from appliance.host.model_description import model_info
from appliance.host.network import Network
from appliance.host.raw_inference import tensor_model
from appliance.host.specification import FILES, MACHINE, MODEL, HostSpecification
from appliance.host.text_tokenizer import read_tokenizer
from appliance.library.checksums import check_sums
from appliance.library.manifest import Manifest, read_labels, read_manifest
from appliance.tasks.contract import Draws, Limits, Model, Payload, Task
from appliance.tasks.registry import task_named

Reply = tuple[dict[str, Any], bytes]
_SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO)
_encode_json = msgspec.json.Encoder().encode


class LoadFailed(ModelInvalid):
    """A version cannot be loaded, and whose fault that is (`specification.py`)."""

    def __init__(self, detail: str, *, cause: str) -> None:
        super().__init__(detail)
        self.cause = cause


class HostedModel:
    """One loaded version, ready to answer.

    Threads: immutable after construction; every method may be called from several threads at once.
    """

    def __init__(self, specification: HostSpecification) -> None:
        started = time.perf_counter()
        directory = Path(specification.directory)
        self.manifest = _checked_manifest(directory)
        self.task = _task(self.manifest)
        self.network = Network(
            directory,
            self.manifest,
            cache_directory=Path(specification.cache_directory),
            threads=specification.threads,
            streams=specification.streams,
        )
        self.model = self._described(directory, specification)
        self.task.check(self.model)
        self.model_info = model_info(self.network.model_info, self.manifest, self.model.labels)
        self.tensors = tensor_model(
            self.network, self.model, most_batch=specification.tensor_batch
        )
        self.samples = golden.read_samples(directory)
        self._prove()
        self.load_seconds = time.perf_counter() - started

    def _described(self, directory: Path, specification: HostSpecification) -> Model:
        return Model(
            manifest=self.manifest,
            labels=read_labels(directory, self.manifest),
            input_shapes=self.network.input_shapes,
            output_shapes=self.network.output_shapes,
            limits=Limits(
                image_pixels=specification.image_pixels,
                image_formats=specification.image_formats,
                texts=specification.texts,
                text_bytes=specification.text_bytes,
            ),
            tokenizer=read_tokenizer(directory, self.manifest),
        )

    def _prove(self) -> None:
        self.network.warm_up()
        for sample, payload in self.samples:
            golden.run_sample(sample, payload, self._run)

    def _run(self, params: dict[str, Any], payload: Payload) -> Any:
        return turns.run_once(
            turns.open_session(self.task, self.model, self.network, params), payload
        )

    def canary(self) -> Reply:
        """Answer the first golden sample, or zeros where there is none.

        Raise ModelInvalid when the answer is wrong.
        """
        started = time.perf_counter()
        if self.samples:
            golden.run_sample(*self.samples[0], self._run)
        else:
            self.network.warm_up()
        return {"seconds": time.perf_counter() - started}, b""

    def predict(self, header: dict[str, Any], body: bytearray | memoryview) -> Reply:
        """Given a payload, return its result as JSON and what it is found by again.

        The header holds `params`, `content_type` and, for a later turn of a stream, `state`. With
        `keep` the session goes on and the reply holds its new `state`; else it ends here. With
        `draw`, a media type, the body is the input with the result drawn on it, and the reply
        holds the JSON as `result`.
        """
        payload = Payload(body=body, content_type=header.get("content_type", ""))
        session = turns.open_session(
            self.task, self.model, self.network, header.get("params", {}), header.get("state")
        )
        reply: dict[str, Any] = {}
        if header.get("keep"):
            result = session.turn(payload)
            reply["state"] = msgspec.msgpack.encode(session.state)
        else:
            result = turns.run_once(session, payload)
        started = time.perf_counter()
        encoded = _encode_json(result)
        if "draw" in header:
            reply["result"], encoded = encoded, self._drawn(payload, result, header["draw"])
        timing = session.timing
        reply["label"], reply["confidence"] = self.task.summary(result)
        reply["timing"] = (
            timing.decode,
            timing.infer,
            timing.encode + time.perf_counter() - started,
        )
        return reply, encoded

    def _drawn(self, payload: Payload, result: Any, media_type: str) -> bytes:
        if not isinstance(self.task, Draws):
            raise Internal(f"{self.task.title} draws nothing.")
        return self.task.draw(payload, result, self.model, media_type)

    def end(self, header: dict[str, Any]) -> Reply:
        """Given the `state` of a stream, return what it still held back, as JSON or empty."""
        session = turns.open_session(
            self.task, self.model, self.network, header.get("params", {}), header["state"]
        )
        result = session.end()
        return {}, b"" if result is None else _encode_json(result)

    def answer(self, header: dict[str, Any], body: bytearray | memoryview) -> Reply:
        """Given one call, do what its `method` says and return the reply."""
        method = header.get("method")
        if method == "predict":
            return self.predict(header, body)
        if method == "infer":
            is_tensorflow = "verb" in header
            answer = tensorflow_serving.answer if is_tensorflow else open_inference.answer
            return answer(self.tensors, header, body)
        if method == "canary":
            return self.canary()
        if method == "end":
            return self.end(header)
        raise Internal(f"The host knows no method {method!r}.")


def load(specification: HostSpecification) -> HostedModel:
    """Given a specification, return the loaded model.

    Raise LoadFailed with a plain reason and whose fault it is.
    """
    try:
        return HostedModel(specification)
    except LoadFailed:
        raise
    except Problem as problem:
        cause = MACHINE if _is_shortage(problem.__context__) else MODEL
        raise LoadFailed(problem.detail, cause=cause) from None
    except MemoryError:
        raise LoadFailed(
            "The model needs more memory than a host may use (models.memory_bytes).",
            cause=MACHINE,
        ) from None


def _is_shortage(cause: BaseException | None) -> bool:
    """Return whether what a problem was made of tells of a machine that is short of something.

    OpenVINO reports a failed allocation as a RuntimeError that names the C++ exception.
    """
    if isinstance(cause, OSError):
        return cause.errno in _SHORTAGES
    words = str(cause)  # a library that finds no room to be loaded in says the second
    is_told = "bad_alloc" in words or "failed to map segment" in words
    return isinstance(cause, MemoryError) or is_told


def _checked_manifest(directory: Path) -> Manifest:
    try:
        check_sums(directory)
        return _manifest(directory)
    except ModelInvalid as problem:
        cause = MACHINE if _is_shortage(problem.__context__) else FILES
        raise LoadFailed(problem.detail, cause=cause) from None


def _manifest(directory: Path) -> Manifest:
    manifest = read_manifest(directory)
    if (manifest.name, str(manifest.version)) != (directory.parent.name, directory.name):
        raise ModelInvalid(
            f"The manifest is that of {manifest.name}@{manifest.version}, but it lies at the place"
            f" of {directory.parent.name}@{directory.name}. Import the version again."
        )
    return manifest


def _task(manifest: Manifest) -> Task:
    try:
        return task_named(manifest.task)
    except NotFound as problem:
        raise LoadFailed(
            f"The manifest is for something else: {problem.detail}", cause=FILES
        ) from None
