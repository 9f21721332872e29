"""Which of the files somebody sent is the model, and which say something about it."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import InvalidInput, ModelInvalid, UnsupportedMedia
from appliance.library.import_format import PICKLE_WORDS, Format, recognise

_MODEL_SUFFIXES = frozenset({".xml", ".onnx", ".tflite", ".lite", ".pb", ".pdmodel"})
_NEVER = frozenset({".pt", ".pth", ".pkl", ".ckpt", ".h5"})
_LABEL_NAME = re.compile(
    r"(?:.*[-_])?(?:labels?|classes|label_?map|names|synset|metadata|data)(?:[-_:].*)?"
    r"\.(?:txt|json|pbtxt|ya?ml|names|csv)",
    re.IGNORECASE,
)
_TEXT_SUFFIXES = frozenset({".txt", ".names", ".pbtxt", ".json", ".yaml", ".yml"})
_NOT_LABELS = frozenset(
    {"config.json", "samples.json", "tokenizer.json", "tokenizer_config.json", "requirements.txt"}
    | {"vocab.txt", "license.txt", "readme.txt", "special_tokens_map.json"}
)
_MOST_TEXT_BYTES = 4 << 20
#: What TensorFlow writes beside a saved_model.pb, and no model: a sum, and notes for Keras.
_BESIDE_SAVED_MODEL = frozenset({"fingerprint.pb", "keras_metadata.pb"})
#: Files that go into the version as they are: what a task may read besides the weights.
_KEPT = frozenset({"tokenizer.json", "card.md"})


@dataclass(frozen=True, slots=True)
class Source:
    """The model among the files, by format, and what lies beside it."""

    format: Format
    model: Path
    labels: dict[str, Path] = field(default_factory=dict)
    manifest: Path | None = None
    golden: Path | None = None
    kept: tuple[Path, ...] = ()


def find_source(directory: Path) -> Source:
    """Given the directory of what was sent, unpacked, return the one model in it.

    Raise UnsupportedMedia or InvalidInput, with what to do instead, when there is none or several.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    models = _models(files)
    if not models:
        raise _no_model(files)
    if len(models) > 1:
        names = ", ".join(path.relative_to(directory).as_posix() for path in models)
        raise InvalidInput(f"There are several models here ({names}). Send one at a time.")
    (model, kind), home = next(iter(models.items())), next(iter(models)).parent
    _require_other_half(model, kind)
    return Source(
        format=kind,
        model=model,
        labels=_labels(files, {home, directory}),
        manifest=_only(home / "manifest.toml"),
        golden=home / "golden" if (home / "golden" / "samples.json").is_file() else None,
        kept=tuple(home / name for name in sorted(_KEPT) if (home / name).is_file()),
    )


def _models(files: list[Path]) -> dict[Path, Format]:
    found: dict[Path, Format] = {}
    for path in files:
        if path.name == "__model__":
            raise UnsupportedMedia(
                "This is a model of Paddle 1.x (__model__), which OpenVINO cannot read. Save it"
                " again with Paddle 2 or newer, as .pdmodel and .pdiparams."
            )
        if path.suffix.lower() == ".json" and _is_new_paddle(path):
            raise UnsupportedMedia(
                "This is a model in the new form of Paddle 3 (PIR, .json), which OpenVINO cannot"
                " read. Save it again with the environment variable FLAGS_enable_pir_api=0, as"
                " .pdmodel and .pdiparams, or convert it to ONNX (paddle2onnx)."
            )
        if path.suffix.lower() in _MODEL_SUFFIXES and not _belongs_to_saved_model(path):
            kind = recognise(path)
            if kind is not Format.IR or _is_network(path):
                found[path] = kind
    if not found and not any(path.suffix.lower() in _NEVER for path in files):
        others = [path for path in files if path.suffix.lower() not in _TEXT_SUFFIXES]
        if len(others) == 1 or len(files) == 1:
            only = (others or files)[0]
            found[only] = recognise(only)
    return {path: kind for path, kind in found.items() if kind is not Format.ZIP}


def _is_new_paddle(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"magic":"pir"' in file.read(256).replace(b" ", b"")


def _belongs_to_saved_model(path: Path) -> bool:
    return path.name in _BESIDE_SAVED_MODEL and (path.parent / "saved_model.pb").is_file()


def _is_network(path: Path) -> bool:
    """A lone .xml is taken for the model, whatever it holds; beside a model it may be anything."""
    with path.open("rb") as file:
        return b"<net" in file.read(4096) or len(list(path.parent.iterdir())) <= 2


def _no_model(files: list[Path]) -> UnsupportedMedia | InvalidInput:
    names = {path.name for path in files}
    if "data.pkl" in names or any(
        path.suffix.lower() in (".pt", ".pth", ".pkl", ".ckpt") for path in files
    ):
        return UnsupportedMedia(PICKLE_WORDS)
    if "model.weights.h5" in names or any(path.suffix == ".h5" for path in files):
        return UnsupportedMedia(
            "This is a Keras model, which OpenVINO cannot read. Save it as a TensorFlow SavedModel"
            " (model.export), zip the folder and send that."
        )
    for path in sorted(files, key=lambda path: -path.stat().st_size)[:1]:
        try:
            recognise(path)
        except (UnsupportedMedia, InvalidInput) as problem:
            if path.suffix.lower() != ".txt":
                return problem
    return InvalidInput(
        "There is no model in it. A .zip holds an OpenVINO IR (.xml and .bin), an .onnx, a"
        " .tflite, a TensorFlow SavedModel folder or graph (.pb), or a Paddle .pdmodel with its"
        " .pdiparams."
    )


def _require_other_half(model: Path, kind: Format) -> None:
    if kind is Format.IR and not model.with_suffix(".bin").is_file():
        raise InvalidInput(
            f"The weights are missing: beside {model.name} there must be"
            f" {model.with_suffix('.bin').name}. Send both, in one .zip or as two files of a form."
        )
    if kind is Format.SAVED_MODEL and model.name != "saved_model.pb":
        raise InvalidInput(
            "This is the saved_model.pb of a TensorFlow SavedModel. Send the whole folder with its"
            " variables in one .zip."
        )
    if kind is Format.PADDLE and not model.with_suffix(".pdiparams").is_file():
        raise InvalidInput(
            f"The weights are missing: beside {model.name} there must be"
            f" {model.with_suffix('.pdiparams').name}. Send both in one .zip."
        )


def _labels(files: list[Path], places: Collection[Path]) -> dict[str, Path]:
    """Return texts that may name the classes, by name, the plainest first."""
    beside = [
        path
        for path in files
        if path.parent in places
        and path.suffix.lower() in _TEXT_SUFFIXES
        and path.name.lower() not in _NOT_LABELS
        and path.stat().st_size <= _MOST_TEXT_BYTES
    ]
    named = [path for path in beside if _LABEL_NAME.fullmatch(path.name)]
    others = [path for path in beside if path not in named and path.suffix in (".txt", ".names")]
    return {path.name: path for path in [*sorted(named, key=_plainness), *others]}


def _plainness(path: Path) -> tuple[bool, str]:
    return path.suffix.lower() != ".txt", path.name


def _only(path: Path) -> Path | None:
    return path if path.is_file() else None


def may_hold_labels(path: Path) -> bool:
    """Given a file beside a model, return whether its name says that it names the classes."""
    return bool(_LABEL_NAME.fullmatch(path.name)) and path.stat().st_size <= _MOST_TEXT_BYTES


def read_text(path: Path) -> str:
    """Given a small text somebody sent, return it; raise ModelInvalid when it is none."""
    try:
        return path.read_bytes()[:_MOST_TEXT_BYTES].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ModelInvalid(f"{path.name} is not UTF-8 text.") from None
