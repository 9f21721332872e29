"""The review sentences, what the frozen encoder makes of them, and the files that come out."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from typing import Protocol

import msgspec
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from appliance.host import bert_encoder, text_builder, text_tokenizer  # noqa: E402
from appliance.host.openvino_import import ov  # noqa: E402
from appliance.library import text_package  # noqa: E402
from appliance.library.manifest import read_manifest  # noqa: E402

SHARED = ROOT.parent / "shared" / "data" / "text"
REVIEWS = SHARED / "reviews"
SOURCES = {"amazon": "amazon_cells", "imdb": "imdb", "yelp": "yelp"}
MOST_TOKENS = 256
#: Written for this purpose; none of them is in the data.
GOLDEN = {
    "praise.txt": ("The battery lasts all week and the screen is a joy to look at.", "positive"),
    "complaint.txt": ("It broke on the second day and nobody answered my letters.", "negative"),
    "dinner.txt": ("We waited an hour for cold soup and left hungry.", "negative"),
    "film.txt": ("A warm, clever film that I will gladly watch again.", "positive"),
}
GOLDEN_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Sentences as features [n, 4 layers x 384], labels 0 or 1, and where each comes from."""

    features: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    dropped: int

    def part(self, chosen: np.ndarray) -> Sentences:
        return Sentences(
            self.features[chosen], self.labels[chosen], self.sources[chosen], self.dropped
        )

    def names(self) -> list[str]:
        return sorted(set(self.sources.tolist()))


class Judge(Protocol):
    """What scores features: above 0 is positive."""

    def scores(self, features: np.ndarray) -> np.ndarray: ...


class FrozenEncoder:
    """The encoder with the mean of each of its last layers as output, one text at a time."""

    def __init__(self, package: pathlib.Path, layers: int = 4) -> None:
        shape = msgspec.json.decode(
            (package / text_package.CONFIG).read_bytes(), type=bert_encoder.BertShape
        )
        weights = {
            name: tensor.astype(np.float16).astype(np.float32)  # as the served graph stores them
            for name, tensor in text_builder.tensors_of(package / text_package.WEIGHTS).items()
            if tensor.dtype == np.float32
        }
        encoder = bert_encoder.encoder(weights, shape)
        means = text_builder.pooled_layers(encoder, layers)
        model = ov.Model(
            [ov.opset13.concat(list(means), 1)], [encoder.ids, encoder.mask], "frozen"
        )
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
        manifest = read_manifest(text_package.RECIPES / "sentiment")
        tokenizer = text_tokenizer.read_tokenizer(package, manifest)
        assert tokenizer is not None
        self._tokenizer = tokenizer

    def features(self, texts: list[str]) -> np.ndarray:
        """Given texts, return [texts, layers x 384]."""
        rows = []
        for tokens in self._tokenizer.tokens(texts, most=MOST_TOKENS):
            ids = np.array([tokens.ids], np.int64)
            (output,) = self._request.infer([ids, np.ones_like(ids)]).values()
            rows.append(np.array(output[0]))
        return np.stack(rows)


def read(folder: pathlib.Path, package: pathlib.Path) -> Sentences:
    """Given the folder of reviews, return its sentences; of equal ones the first is kept."""
    texts: dict[str, tuple[str, int, str]] = {}
    count = 0
    for name, file in SOURCES.items():
        path = folder / f"{file}_labelled.tsv"
        for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
            text, _, label = line.rpartition("\t")
            count += 1
            texts.setdefault(text.strip().lower(), (text.strip(), int(label), name))
    chosen = list(texts.values())
    features = FrozenEncoder(package).features([text for text, _, _ in chosen])
    return Sentences(
        features,
        np.array([label for _, label, _ in chosen]),
        np.array([name for _, _, name in chosen]),
        count - len(chosen),
    )


def folds_of(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Given labels, return a fold for each, every fold with the same share of each label."""
    random = np.random.default_rng(seed)
    folds = np.zeros(len(labels), int)
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        folds[places] = np.arange(len(places)) % count
    return folds


def write_safetensors(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    """Given f32 arrays by name, write them in the format of `library/safetensors.py`."""
    header, blobs, offset = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        blob = np.ascontiguousarray(tensor, "<f4").tobytes()
        place = [offset, offset + len(blob)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": place}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def write_golden(recipe: pathlib.Path, package: pathlib.Path) -> list[str]:
    """Given the recipe with its new head, write golden samples with the head's own answers."""
    head = text_builder.tensors_of(recipe / text_builder.HEAD)
    layers = head["weight"].shape[1] // 384
    features = FrozenEncoder(package, layers).features([text for text, _ in GOLDEN.values()])
    scores = features @ head["weight"].T.astype(np.float64) + head["bias"]
    golden = recipe / "golden"
    golden.mkdir(exist_ok=True)
    samples = []
    for (name, (text, label)), pair in zip(GOLDEN.items(), scores, strict=True):
        confidence = 1 / (1 + np.exp(-abs(pair[1] - pair[0])))
        assert ("positive" if pair[1] > pair[0] else "negative") == label, name
        (golden / name).write_text(text + "\n", encoding="utf-8")
        checks = [
            {"pointer": "/predictions/0/label", "equals": label},
            {
                "pointer": "/predictions/0/confidence",
                "equals": round(float(confidence), 4),
                "tolerance": GOLDEN_TOLERANCE,
            },
        ]
        samples.append({"input": name, "content_type": "text/plain", "checks": checks})
    text = json.dumps({"samples": samples}, indent=1) + "\n"
    (golden / "samples.json").write_text(text, encoding="utf-8")
    return list(GOLDEN)


def tweets_judged(head: Judge, package: pathlib.Path) -> str:
    """Given the shipped head, return how it does on tweets that are there for measuring only."""
    folder = SHARED / "tweeteval" / "sentiment"
    if not folder.is_dir():
        return "not measured (no tweets at hand)"
    texts = (folder / "val_text.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    labels = np.array((folder / "val_labels.txt").read_text().split(), int)
    chosen = labels != 1
    found = FrozenEncoder(package).features(
        [text for text, use in zip(texts, chosen, strict=True) if use]
    )
    truth = labels[chosen] == 2
    right = (head.scores(found) > 0) == truth
    recalls = [float(right[truth == side].mean()) for side in (False, True)]
    return (
        f"{right.mean():.3f} accuracy, {np.mean(recalls):.3f} mean recall on {len(right):,} tweets"
        "\nthat are positive or negative (TweetEval, validation part)"
    )
