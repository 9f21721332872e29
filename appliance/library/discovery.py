"""The manifest a model needs, found out from its network, its words and its neighbours.

What somebody said in the request comes first, then what the file says, then what shapes and one
trial show. Each finding leaves a note, so that an admin can see why and say otherwise.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from appliance.errors import ModelInvalid
from appliance.library.detector_discovery import Detector, find_detector
from appliance.library.import_request import ImportRequest
from appliance.library.manifest import Input, Manifest, Output, Tokenizer
from appliance.library.model_facts import (
    ModelFacts,
    TensorFacts,
    channels_of,
    classes_of,
    picture_size,
)
from appliance.library.told import Told, told_by

_CLASSIFICATION, _DETECTION = "image-classification", "object-detection"
_EMBEDDING = "embedding"
_TEXTS = "text-classification"
_IMAGENET = frozenset({1000, 1001})
_LEAST_FEATURES = 64
_YOLO = frozenset({"yolov5", "yolov8", "yolov8-nms"})
Labels = Mapping[str, tuple[str, ...]]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, its files of labels, why it is so, and what is still missing to serve it."""

    manifest: Manifest
    labels: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()


def propose(
    facts: ModelFacts,
    request: ImportRequest,
    *,
    version: int,
    beside: Labels,
    has_tokenizer: bool = False,
) -> Proposal:
    """Given what is known of a model and the labels found beside it by file name, return the
    manifest it needs; `has_tokenizer` says whether a tokenizer.json lies there too. Raise
    ModelInvalid for a kind of model that is not served here.
    """
    finding = _Finding(facts, request, version, beside)
    if has_tokenizer:
        finding.tokenizer = Tokenizer()
        finding.notes.append("Texts become tokens by its tokenizer.json.")
    try:
        return finding.proposal()
    except ValueError as fault:
        raise ModelInvalid(f"What the file says of itself cannot be used: {fault}.") from None


class _Finding:
    """One search; every step may add a note or a question."""

    def __init__(
        self, facts: ModelFacts, request: ImportRequest, version: int, beside: Labels
    ) -> None:
        self.facts = facts
        self.request = request
        self.version = version
        self.beside = beside
        self.told = told_by(facts.metadata)
        self.notes: list[str] = []
        self.missing: list[str] = []
        self.files: dict[str, tuple[str, ...]] = {}
        self.settings: dict[str, Any] = {}
        self.tokenizer: Tokenizer | None = None

    def proposal(self) -> Proposal:
        if self.told.unserved and not self.request.task:
            raise ModelInvalid(
                f"{self.told.source.capitalize()} says the model is for {self.told.unserved!r},"
                " which is not served here. Say --task if it can be used otherwise."
            )
        layout = self._layout()
        detector = self._detector(layout)
        task = self._task(layout, detector)
        if task == _DETECTION:
            outputs = self._detector_outputs(detector)
        else:
            detector = None
            outputs = self._heads(task)
        manifest = Manifest(
            manifest_version=1,
            name=self.request.name,
            version=self.version,
            task=task,
            title=self.request.title,
            license=self.request.license,
            credit=self.request.credit,
            inputs=self._inputs(layout, detector),
            outputs=outputs,
            tokenizer=self.tokenizer,
            settings=self.settings,
        )
        return Proposal(
            manifest=manifest,
            labels=self.files,
            notes=tuple(self.notes),
            missing=tuple(self.missing),
        )

    def _layout(self) -> str:
        """Return how the pixels of the only input lie, or nothing when it takes none."""
        if len(self.facts.inputs) != 1:
            return ""
        shape = self.facts.inputs[0].shape
        layout = self.request.layout or self.told.layout or channels_of(shape)
        if layout and (len(layout) != len(shape) or not set("HWC") <= set(layout)):
            raise ModelInvalid(
                f"The layout {layout} does not fit the input {self.facts.inputs[0].name!r}, whose"
                f" shape is {list(shape)}."
            )
        return layout

    def _detector(self, layout: str) -> Detector | None:
        if not layout:
            return None
        size = picture_size(self.facts.inputs[0].shape, layout)
        candidates = {len(labels) for labels in self._candidates().values()}
        count = candidates.pop() if len(candidates) == 1 else 0
        found = find_detector(self.facts.outputs, size, labels=count)
        wanted = self.request.decoder or self.told.decoder
        if wanted and (found is None or found.decoder != wanted):
            names = tuple(output.name for output in self.facts.outputs)
            return Detector(decoder=wanted, outputs=found.outputs if found else names)
        if found and self.request.decoder:
            return msgspec.structs.replace(found, question="")
        return found

    def _task(self, layout: str, detector: Detector | None) -> str:
        if self.request.task:
            return self.request.task
        if self.told.task:
            self.notes.append(f"{self.told.task}: {self.told.source} says so.")
            return self.told.task
        if detector:
            self.notes.append(
                f"{_DETECTION}: its output is that of a {detector.decoder} detector."
            )
            return _DETECTION
        if layout and self._are_features():
            self.notes.append(
                f"{_EMBEDDING}: it takes a picture and answers one row of numbers, none below 0,"
                " that are no confidences and have no labels. If they are scores, say"
                f" --task {_CLASSIFICATION} and --labels."
            )
            return _EMBEDDING
        if layout and all(classes_of(output.shape) for output in self.facts.outputs):
            self.notes.append(
                f"{_CLASSIFICATION}: it takes a picture and answers one row of scores for each"
                " head."
            )
            return _CLASSIFICATION
        shapes = ", ".join(f"{list(one.shape)}" for one in self.facts.outputs)
        self.missing.append(
            f"What it is for cannot be seen from its outputs ({shapes}). Say --task, such as"
            " text-classification or embedding for a model of texts, and for a detector --decoder."
        )
        return ""

    def _are_features(self) -> bool:
        """Return whether the only output looks like features: of so many scores before a softmax
        some are below 0 on noise, while pooled features after a ReLU never are.
        """
        if len(self.facts.outputs) != 1:
            return False
        only = self.facts.outputs[0]
        count = classes_of(only.shape)
        has_labels = count in {len(labels) for labels in self._candidates().values()}
        if count < _LEAST_FEATURES or count in _IMAGENET or has_labels:
            return False
        low, high = only.low, only.high
        return low is not None and high is not None and low >= 0 and high > 1

    def _inputs(self, layout: str, detector: Detector | None) -> tuple[Input, ...]:
        request, told = self.request, self.told
        if not layout:
            return tuple(Input(tensor=one.name) for one in self.facts.inputs)
        only = self.facts.inputs[0]
        decoder = detector.decoder if detector else ""
        color = request.color or told.color or ("BGR" if decoder == "yolox" else "RGB")
        if only.shape[layout.index("C")] == 1:
            color = "GRAY"
        resize = request.resize or told.resize or _resize(decoder)
        is_letterbox = resize == "letterbox"
        position = told.pad_position or ("top-left" if decoder == "yolox" else "center")
        mean, scale = self._numbers(only, decoder)
        return (
            Input(
                tensor=only.name,
                layout=layout,
                color_order=cast(Literal["RGB", "BGR", "GRAY"], color),
                mean=mean,
                scale=scale,
                resize=cast(Literal["stretch", "letterbox", "crop"], resize),
                pad_value=114 if told.pad_value is None else told.pad_value,
                pad_position=cast(
                    Literal["center", "top-left"], position if is_letterbox else "center"
                ),
            ),
        )

    def _numbers(
        self, only: TensorFacts, decoder: str
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and scale of the pixels."""
        request, told = self.request, self.told
        if request.mean or request.scale:
            return request.mean, request.scale
        if told.mean or told.scale:
            return told.mean, (() if only.type == "u8" else told.scale)
        if only.type == "u8" or told.source == "its model_info":
            return (), ()
        if decoder in _YOLO:
            self.notes.append(f"Pixels are divided by 255, as {decoder} exports want them.")
            return (), (255.0,)
        if decoder != "yolox":
            self.notes.append(
                "Pixels are given as they are, 0 to 255: the file does not say otherwise. If it"
                " was taught on other values, say --mean and --scale."
            )
        return (), ()

    def _detector_outputs(self, detector: Detector | None) -> tuple[Output, ...]:
        if detector is None:
            self.missing.append(
                "How its output is to be read cannot be seen from its shape. Say --decoder."
            )
            detector = Detector(decoder="", outputs=tuple(one.name for one in self.facts.outputs))
        activation = self.request.activation or detector.activation
        if detector.question and not self.request.activation:
            self.missing.append(detector.question)
        labels = self._labels_of(detector.classes, head="")
        for name, value in (
            ("threshold", self.told.threshold),
            ("iou", self.told.iou),
            ("boxes", detector.boxes if detector.boxes != "pixels" else None),
            ("strides", list(detector.strides) or None),
        ):
            if value is not None:
                self.settings[name] = value
        first, *rest = detector.outputs
        return (
            Output(
                tensor=first,
                head="objects",
                labels=labels,
                activation=cast(Any, activation),
                decoder=detector.decoder,
            ),
            *(Output(tensor=name) for name in rest),
        )

    def _heads(self, task: str) -> tuple[Output, ...]:
        if task == _EMBEDDING:
            pooled = [one for one in self.facts.outputs if classes_of(one.shape)]
            return (Output(tensor=(pooled or list(self.facts.outputs))[0].name),)
        if task not in (_CLASSIFICATION, _TEXTS):
            return tuple(Output(tensor=one.name) for one in self.facts.outputs)
        return tuple(self._head(one) for one in self.facts.outputs)

    def _head(self, output: TensorFacts) -> Output:
        is_only = len(self.facts.outputs) == 1
        classes = classes_of(output.shape)
        return Output(
            tensor=output.name,
            head="class" if is_only else output.name,
            labels=self._labels_of(classes, head="" if is_only else output.name),
            activation=cast(Any, self._activation(output)),
        )

    def _activation(self, output: TensorFacts) -> str:
        if self.request.activation or self.told.activation:
            return self.request.activation or self.told.activation
        if output.low is None or output.high is None:
            return "softmax"
        if output.sums_to_one or (output.low >= 0 and output.high <= 1):
            self.notes.append(f"The scores of {output.name!r} are confidences already.")
            return "none"
        self.notes.append(f"The scores of {output.name!r} become confidences by softmax.")
        return "softmax"

    def _candidates(self) -> dict[str, tuple[str, ...]]:
        """Return every list of labels there is, by where it comes from, the surest first."""
        found = dict(self.beside)
        if self.told.labels:
            found[self.told.source] = self.told.labels
        if self.facts.labels:
            found["the file's own labels"] = self.facts.labels
        return found

    def _labels_of(self, classes: int, *, head: str) -> str:
        """Return the file name of a head's labels, or nothing when none are known."""
        file_name = f"labels-{head}.txt" if head else "labels.txt"
        found = self._candidates()
        own = {f"labels-{head}.txt", f"{head}.txt", f"{head}_labels.txt"} if head else set()
        for source, labels in found.items():
            is_named = source in own or (not head and source in ("labels.txt", self.told.source))
            if is_named or (classes and len(labels) == classes and not _is_other(source, head)):
                self.files[file_name] = labels
                self.notes.append(f"{len(labels)} labels from {source}.")
                return file_name
        hint = ""
        if classes in _IMAGENET:
            hint = f" {classes:,} classes are mostly ImageNet's: put its list beside the model."
        self.notes.append(
            f"No labels for {head or 'the model'}: answers will say 'class 0' and so on. Give"
            f" --labels.{hint}"
        )
        return ""


def _is_other(source: str, head: str) -> bool:
    """Return whether a file of labels says by its name that it is another head's."""
    return bool(head) and source.startswith("labels-") and source != f"labels-{head}.txt"


def _resize(decoder: str) -> str:
    return "letterbox" if decoder in _YOLO or decoder == "yolox" else "stretch"


def size_wanted(request: ImportRequest, metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Given the request and the file's metadata, return the width and height they ask for."""
    if request.size:
        width, height = request.size.split("x")
        return int(width), int(height)
    told: Told = told_by(metadata)
    return told.size
