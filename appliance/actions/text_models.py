"""The shipped text models: built on this machine, because their encoder is too large to ship."""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from appliance.errors import ModelInvalid
from appliance.library import text_package
from appliance.library.manifest import read_manifest
from appliance.library.versions import VersionDirectory, install_directory

_log = logging.getLogger(__name__)
_BUILD_SECONDS = 600.0


def build_text_models(source: Path | None, target: Path) -> list[Path]:
    """Given the package (a wheel, a folder, None: the installed one), build the models in target.

    Return their directories, `<target>/<model>/<version>`. Another process builds, because this
    one must not load OpenVINO. Raise ModelInvalid with the reason when that cannot be done.
    """
    with tempfile.TemporaryDirectory(dir=target, prefix="package-") as folder:
        text_package.collect(source, Path(folder))
        try:
            done = subprocess.run(
                [*_builder(), folder, str(target)],
                capture_output=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelInvalid(
                f"Building the text models took longer than {_BUILD_SECONDS:g} s. Try again when"
                " the machine has less to do."
            ) from None
    if done.returncode != 0:
        words = (done.stdout or done.stderr).decode(errors="replace").strip()
        raise ModelInvalid(f"The text models could not be built. {words[-500:]}")
    return sorted(path.parent for path in target.glob("*/*/manifest.toml"))


def text_models() -> tuple[tuple[str, int], ...]:
    """Return the name and version of each text model that can be built."""
    manifests = [
        read_manifest(path.parent) for path in sorted(text_package.RECIPES.glob("*/manifest.toml"))
    ]
    return tuple((manifest.name, manifest.version) for manifest in manifests)


def install_text_models(
    models_directory: Path, *, removed: Collection[tuple[str, int]] = ()
) -> list[VersionDirectory]:
    """Given the library, build and install those text models that are not there yet.

    Those in `removed` (name and version) stay away. Where the package they are built of is not
    installed, that is logged, and everything else is served all the same.
    """
    missing = [
        (name, version)
        for name, version in text_models()
        if (name, version) not in removed and not (models_directory / name).exists()
    ]
    if not missing:
        return []
    names = " and ".join(name for name, _ in missing)
    if text_package.installed_folder() is None:
        _log.info(
            "text models not built",
            extra={"models": names, "reason": f"needs the package {text_package.PACKAGE}"},
        )
        return []
    try:
        with tempfile.TemporaryDirectory(dir=models_directory, prefix=".text-models-") as target:
            built = build_text_models(None, Path(target))
            return [
                install_directory(directory, models_directory)
                for directory in built
                if (directory.parent.name, int(directory.name)) in missing
            ]
    except ModelInvalid as problem:
        _log.error("text models not built", extra={"models": names, "reason": problem.detail})
    except OSError as fault:
        _log.error("text models not built", extra={"models": names, "reason": str(fault)})
    return []


def _builder() -> list[str]:
    if getattr(sys, "frozen", False):
        return [sys.executable, "text-builder"]
    return [sys.executable, "-m", "appliance.host.text_builder"]
