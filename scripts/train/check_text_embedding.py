"""Compares the built text-embedding network with the original in torch, sentence by sentence.

    python scripts/train/check_text_embedding.py --package FILE.whl

Needs torch and transformers (not the product's own environment). Ends with 1 when a cosine is
below the bar.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

import msgspec
import numpy as np
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from appliance.host import text_builder, text_tokenizer  # noqa: E402
from appliance.host.openvino_import import ov  # noqa: E402
from appliance.library import text_package  # noqa: E402
from appliance.library.manifest import read_manifest  # noqa: E402

SHARED = ROOT.parent / "shared" / "data" / "text"
BAR = 0.9999
COUNT = 200


def sentences() -> list[str]:
    """Return review sentences, a third of them joined to long ones, and a few odd ones."""
    path = SHARED / "reviews" / "imdb_labelled.tsv"
    texts = [line.rpartition("\t")[0] for line in path.read_text("utf-8").split("\n") if line]
    odd = ["Ünïcödé – čeština, ελληνικά", "日本語の文", "a", "!?!", "🙂 ok", "x" * 300]
    long = [" ".join(texts[place : place + 12]) for place in range(300, 300 + COUNT // 3)]
    return [*odd, *long, *texts][:COUNT]


def originals(folder: pathlib.Path, texts: list[str]) -> np.ndarray:
    """Given the package's files, return the mean of the last layer by torch, in f32."""
    shape = transformers.BertConfig.from_json_file(folder / text_package.CONFIG)
    model = transformers.BertModel.from_pretrained(folder, config=shape).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / text_package.TOKENIZER), pad_token="[PAD]"
    )
    rows = []
    with torch.no_grad():
        for text in texts:
            tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
            mask = tokens["attention_mask"][..., None]
            state = model(**tokens).last_hidden_state
            rows.append(((state * mask).sum(1) / mask.sum(1))[0].numpy())
    return np.stack(rows).astype(np.float64)


def ours(folder: pathlib.Path, texts: list[str]) -> np.ndarray:
    """Given the package's files, build the version and return its embeddings."""
    with tempfile.TemporaryDirectory() as target:
        shape = msgspec.json.decode(
            (folder / text_package.CONFIG).read_bytes(), type=text_builder.BertShape
        )
        directory = text_builder.build(
            text_package.RECIPES / "text-embedding",
            pathlib.Path(target),
            weights=text_builder.tensors_of(folder / text_package.WEIGHTS),
            shape=shape,
            tokenizer=folder / text_package.TOKENIZER,
        )
        tokenizer = text_tokenizer.read_tokenizer(directory, read_manifest(directory))
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        model = ov.Core().compile_model(directory / "model.xml", "CPU", settings)
        rows = []
        for tokens in tokenizer.tokens(texts, most=256):
            ids = np.zeros((1, -(-len(tokens.ids) // 8) * 8), np.int64)
            ids[0, : len(tokens.ids)] = tokens.ids
            mask = np.zeros_like(ids)
            mask[0, : len(tokens.ids)] = 1
            rows.append(model([ids, mask])[0][0].astype(np.float64))
        return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    texts = sentences()
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder)
        text_package.collect(arguments.package, source)
        wanted, found = originals(source, texts), ours(source, texts)
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (wanted * found).sum(1) / lengths
    worst = int(np.argmin(cosines))
    print(f"{len(texts)} sentences: least cosine {cosines.min():.8f} ({texts[worst][:60]!r})")
    print(
        f"mean cosine {cosines.mean():.8f}, largest difference {np.abs(wanted - found).max():.2e}"
    )
    sys.exit(cosines.min() < BAR)


if __name__ == "__main__":
    main()
