"""What is inside the built program: `debian/copyright`'s and the SBOM's one source.

Run by scripts/build-program after PyInstaller. It fails when the bundle holds a shared library that
neither a wheel nor `libraries.toml` accounts for, or one that must not be there.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "build" / "dist" / "inference-appliance"
OUTPUT = ROOT / "build" / "generated"
TABLE = ROOT / "packaging" / "libraries.toml"
LOCK = ROOT / "requirements" / "runtime.txt"
#: Locked, but left out of the bundle by the spec.
NOT_BUNDLED = frozenset({"openvino-telemetry", "supervisor"})
FORBIDDEN = re.compile(r"^torch$|libtorch|openvino_telemetry|readline|libstdc\+\+")
_PIN = re.compile(r"^([a-z0-9][\w.-]*)==(\S+)", re.MULTILINE)
_LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|third-party)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One thing in the package that somebody else made, or a model of ours."""

    name: str
    version: str
    licence: str
    home: str
    copyright: str
    kind: str  # wheel, library or model
    files: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    note: str = ""


def main() -> int:
    """Write the copyright file and the SBOM; return the exit status."""
    version = _version()
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    wheels = list(_wheels(table["licences"]))
    libraries = list(_libraries(table["library"]))
    models = [*_models(), *_heads()]
    faults = _faults(wheels, libraries)
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    OUTPUT.mkdir(parents=True, exist_ok=True)
    parts = [*wheels, *libraries, *models]
    (OUTPUT / "copyright").write_text(_copyright(parts), encoding="utf-8")
    document = json.dumps(_sbom(parts, version), indent=1, ensure_ascii=False) + "\n"
    (OUTPUT / "sbom.cdx.json").write_text(document, encoding="utf-8")
    print(
        f"{len(wheels)} wheels, {len(libraries)} libraries and {len(models)} models accounted for"
    )
    return 0


def _version() -> str:
    text = (ROOT / "appliance" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found is not None
    return found[1]


def _wheels(licences: dict[str, str]) -> Iterator[Part]:
    for name, version in _PIN.findall(LOCK.read_text(encoding="utf-8")):
        if name in NOT_BUNDLED:
            continue
        distribution = importlib.metadata.distribution(name)
        if distribution.version != version:
            raise SystemExit(f"{name} {distribution.version} is installed, {version} is locked")
        named = [
            file
            for file in distribution.files or []
            if _LICENCE_FILE.search(str(file).split("/", 1)[-1])
        ]
        texts = {
            str(file): distribution.locate_file(file).read_text(encoding="utf-8", errors="replace")
            for file in [each for each in named if ".dist-info" in str(each)]
            # Some wheels have it among their own files only.
            or [each for each in named if each.suffix == ".txt"]
        }
        metadata = distribution.metadata
        licence = licences.get(name) or metadata.get("License-Expression") or ""
        holders = sorted({each for text in texts.values() for each in _holders(text)})
        yield Part(
            name=name,
            version=version,
            licence=licence,
            home=_home(metadata),
            copyright="\n".join(holders[:40]) or metadata.get("Author") or "see its home page",
            kind="wheel",
            texts=texts,
        )


def _home(metadata: "importlib.metadata.PackageMetadata") -> str:
    links = dict(link.split(", ", 1) for link in metadata.get_all("Project-URL") or [])
    known = {name.lower(): address for name, address in links.items()}
    for name in ("homepage", "repository", "source", "documentation"):
        if name in known:
            return known[name]
    return metadata.get("Home-page") or next(iter(links.values()), "")


def _holders(text: str) -> list[str]:
    lines = re.findall(
        r"^\W*(?:copyright|\(c\))[^\n]*\d{4}[^\n]*$", text, re.IGNORECASE | re.MULTILINE
    )
    return [
        " ".join(re.sub(r"^\W*copyright\s*", "", line, flags=re.IGNORECASE).split())[:160]
        for line in lines
    ]


def _libraries(table: list[dict[str, object]]) -> Iterator[Part]:
    shared = sorted({path.name: path for path in _shared_objects()}.items())
    shared.append(("inference-appliance", BUNDLE / "inference-appliance"))
    for entry in table:
        starts = tuple(str(start) for start in entry["files"])  # type: ignore[attr-defined]
        found = {name: path for name, path in shared if name.startswith(starts)}
        if not found:
            continue
        yield Part(
            name=str(entry["name"]),
            version=_file_version(next(iter(found))),
            licence=str(entry["licence"]),
            home=str(entry["home"]),
            copyright=str(entry["copyright"]),
            kind="library",
            files=[f"{name} {_sha256(path)}" for name, path in found.items()],
            note=str(entry.get("note", "")),
        )


def _file_version(name: str) -> str:
    found = re.search(r"\.so\.([\d.]+)$", name)
    return found[1] if found else ""


def _models() -> Iterator[Part]:
    for manifest in sorted((ROOT / "appliance" / "starter").glob("*/*/manifest.toml")):
        yield Part(
            name=manifest.parent.parent.name,
            version=manifest.parent.name,
            licence="Apache-2.0",
            home="",
            copyright="the authors of the inference appliance; data: see its card.md",
            kind="model",
            files=[f"model.bin {_sha256(manifest.parent / 'model.bin')}"],
        )


def _heads() -> Iterator[Part]:
    """Weights of ours that wait for an encoder which does not ship."""
    for head in sorted((ROOT / "appliance" / "text_models").glob("*/head.safetensors")):
        yield Part(
            name=f"{head.parent.name} (head)",
            version="1",
            licence="Apache-2.0",
            home="",
            copyright="the authors of the inference appliance; data: see its card.md",
            kind="model",
            files=[f"head.safetensors {_sha256(head)}"],
        )


def _shared_objects() -> list[Path]:
    found = [path for path in BUNDLE.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    return sorted(path for path in found if ".so" in path.name)


def _faults(wheels: list[Part], libraries: list[Part]) -> list[str]:
    faults = [f"{part.name}: no licence is known" for part in wheels if not part.licence]
    known = {line.split(" ")[0] for part in libraries for line in part.files}
    for path in _shared_objects():
        inside = path.relative_to(BUNDLE)
        is_of_a_wheel = ".cpython-" in path.name or ".abi3." in path.name or _is_of_openvino(path)
        if path.name not in known and not is_of_a_wheel:
            faults.append(f"{inside}: in no wheel and not in {TABLE.name}")
    for path in BUNDLE.rglob("*"):
        if FORBIDDEN.search(path.name):
            faults.append(f"{path.relative_to(BUNDLE)}: must not be in the package")
    return faults


def _is_of_openvino(path: Path) -> bool:
    return path.name.startswith("libopenvino") and "openvino" in path.parent.parts


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copyright(parts: list[Part]) -> str:
    """Return debian/copyright in the machine-readable format 1.0."""
    own = (ROOT / "debian" / "copyright.head").read_text(encoding="utf-8")
    stanzas = [own.rstrip()]
    texts: dict[str, str] = {}
    for part in parts:
        label = "LicenseRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", part.name).strip("-")
        comment = [f"{part.name} {part.version} {part.home}".strip(), f"SPDX: {part.licence}"]
        comment += [part.note] if part.note else []
        comment += [line.split(" ")[0] for line in part.files if part.kind == "library"]
        stanzas.append(
            f"Files: usr/lib/inference-appliance/*{_pattern(part.name)}*\n"
            f"Copyright: {_folded(part.copyright)}\nLicense: {label}\nComment:\n{_indented(comment)}"
        )
        body = "\n".join(
            f"-- {name.split('/')[-1]} --\n{text}" for name, text in part.texts.items()
        )
        texts[label] = body or f"{part.licence}; the text is at https://spdx.org/licenses/"
    stanzas += [
        f"License: {label}\n{_indented(text.splitlines())}" for label, text in texts.items()
    ]
    return "\n\n".join(stanzas) + "\n"


def _pattern(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower().split(" (")[0].split(" with")[0]).strip("-")


def _folded(text: str) -> str:
    return "\n           ".join(text.splitlines())


def _indented(lines: list[str]) -> str:
    clean = (
        "".join(char for char in line if char.isprintable() or char == "\t") for line in lines
    )
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in clean)


def _sbom(parts: list[Part], version: str) -> dict[str, object]:
    """Return CycloneDX 1.5; the same parts give the same text, so that builds can be compared."""
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), tz=UTC)
    components = [_component(part) for part in parts]
    digest = hashlib.sha256(json.dumps(components, sort_keys=True).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": "inference-appliance",
                "name": "inference-appliance",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": "inference-appliance", "dependsOn": [each["bom-ref"] for each in components]}
        ],
    }


def _component(part: Part) -> dict[str, object]:
    kinds = {"wheel": "library", "library": "library", "model": "machine-learning-model"}
    component: dict[str, object] = {
        "type": kinds[part.kind],
        "bom-ref": f"{part.kind}:{part.name}@{part.version}",
        "name": part.name,
        "version": part.version,
        "copyright": part.copyright,
        "licenses": [{"license": {"name": part.licence}}],
    }
    if part.kind == "wheel":
        component["purl"] = f"pkg:pypi/{part.name}@{part.version}"
    if part.home.startswith("http"):
        component["externalReferences"] = [{"type": "website", "url": part.home}]
    if part.files:
        component["components"] = [
            {
                "type": "file",
                "name": line.split(" ")[0],
                "hashes": [{"alg": "SHA-256", "content": line.split(" ")[1]}],
            }
            for line in part.files
        ]
    return component


if __name__ == "__main__":
    sys.exit(main())
