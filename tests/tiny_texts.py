"""Real text models, built in a test: a tokenizer of a few words, and graphs that sum over them."""

import json
from pathlib import Path
from typing import Any

from appliance.library.checksums import write_sums
from appliance.library.manifest import Input, Manifest, Output, Tokenizer
from appliance.library.manifest_text import manifest_text
from appliance.library.versions import VersionDirectory
from tests.tiny_models import save

#: Words the tokenizer knows, after [PAD], [UNK], [CLS] and [SEP].
WORDS = ("good", "bad", "food", "film", "very", "not")
#: What each word adds to "negative" and "positive".
MOODS = {"good": (0.0, 3.0), "bad": (3.0, 0.0), "very": (0.1, 0.1), "not": (1.0, 0.0)}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def tokenizer_document(*, has_special: bool = True) -> dict[str, Any]:
    """Return a tokenizer.json: lower case, split at spaces, [CLS] before and [SEP] behind."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    pieces = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    return {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": pieces,
            "pair": pieces,
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        }
        if has_special
        else None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }


def write_tokenizer(path: Path, *, has_special: bool = True) -> None:
    path.write_text(json.dumps(tokenizer_document(has_special=has_special)))


def write_text_model(
    models_directory: Path,
    *,
    name: str = "mood",
    task: str = "text-classification",
    decoder: str = "",
    has_tokenizer: bool = True,
    max_tokens: int = 16,
    shape: tuple[int, int] = (-1, -1),
    golden_label: str | None = None,
) -> VersionDirectory:
    """Write a version whose two scores are sums over the words of a text.

    Without a tokenizer its tokens are bytes, and only [PAD], 0, means nothing.
    """
    import numpy as np

    from appliance.host.openvino_import import ov

    ops = ov.opset13
    directory = models_directory / name / "1"
    directory.mkdir(parents=True)
    table = np.zeros((256, 2), np.float32)
    table[97:110, 0] = table[110:123, 1] = 1.0  # letters a to m, and n to z
    if has_tokenizer:
        table = np.zeros((len(SPECIAL) + len(WORDS), 2), np.float32)
        for word, scores in MOODS.items():
            table[len(SPECIAL) + WORDS.index(word)] = scores
    ids, mask = (
        ops.parameter(list(shape), np.int64, name=name) for name in ("input_ids", "attention_mask")
    )
    for one, tensor in ((ids, "input_ids"), (mask, "attention_mask")):
        one.output(0).set_names({tensor})
    found = ops.gather(table, ids, np.array(0))
    shown = ops.multiply(found, ops.unsqueeze(ops.convert(mask, np.float32), np.array(2)))
    scores = ops.reduce_sum(shown, np.array(1), keep_dims=False)
    scores.output(0).set_names({"scores"})
    save([scores], [ids, mask], directory)
    has_labels = not decoder and task == "text-classification"
    manifest = Manifest(
        manifest_version=1,
        name=name,
        version=1,
        task=task,
        inputs=(Input(tensor="input_ids"), Input(tensor="attention_mask")),
        outputs=(
            Output(
                tensor="scores",
                head="mood",
                labels="labels.txt" if has_labels else "",
                activation="softmax" if has_labels else "none",
                decoder=decoder,
            ),
        ),
        tokenizer=Tokenizer(max_tokens=max_tokens) if has_tokenizer else None,
    )
    (directory / "manifest.toml").write_text(manifest_text(manifest))
    if has_labels:
        (directory / "labels.txt").write_text("negative\npositive\n")
    if has_tokenizer:
        write_tokenizer(directory / "tokenizer.json")
    if golden_label:
        _write_golden(directory, golden_label)
    write_sums(directory)
    return VersionDirectory(name, 1, directory)


def _write_golden(directory: Path, label: str) -> None:
    (directory / "golden").mkdir()
    (directory / "golden" / "one.txt").write_text("good food\n")
    check = {"pointer": "/predictions/0/label", "equals": label}
    sample = {"input": "one.txt", "content_type": "text/plain", "checks": [check]}
    (directory / "golden" / "samples.json").write_text(json.dumps({"samples": [sample]}))


def write_safetensors(path: Path, tensors: dict[str, Any]) -> None:
    """Write f32 and i64 arrays in the format that `library/safetensors.py` reads."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs, offset = [], 0
    for name, tensor in tensors.items():
        blob = tensor.tobytes()
        kind = {"float32": "F32", "int64": "I64", "float16": "F16"}[str(tensor.dtype)]
        place = [offset, offset + len(blob)]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": place}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))
