"""The rules of the repository that can be counted: mirror, sizes, names, versions."""

import ast
import re
from pathlib import Path

import pytest

from appliance import __version__

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "appliance"
TESTS = ROOT / "tests"
MOST_LINES = 400
MOST_FUNCTION_LINES = 40
BANNED = frozenset(
    {"util", "utils", "helper", "helpers", "manager", "handler", "processor"}
    | {"service", "common", "info", "misc"}
)

#: Files without a test file of their own, and why that is right.
UNMIRRORED = {
    "appliance/__init__.py": "only the version, which test_layout.py compares",
    "appliance/__main__.py": "one call; every end-to-end test starts the product through it",
    "appliance/store/migrations/__init__.py": "a list; test_migrate.py runs every migration",
}
#: Test files that belong to no single file of the package, and what they test instead.
UNPAIRED = {
    "tests/test_layout.py": "the repository",
    "tests/test_generate.py": "scripts/generate",
    "tests/test_reliability.py": "tests/reliability.md",
}
#: Folders below tests/ whose files are named after promises instead.
RINGS = ("integration", "end_to_end", "package", "scripts")
#: Functions that may be longer, and why; the fewer the better.
LONG_FUNCTIONS: dict[str, str] = {
    "appliance/web/server.py:__init__": "puts parts together, one argument a line",
    "appliance/web/front.py:__init__": "the same, and the constants of every WSGI environment",
    "appliance/web/app.py:routes": "the whole route table on one screen",
}
#: Files that may use a banned word in their name, and why.
BANNED_ALLOWED: dict[str, str] = {}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "starter" not in path.parts]


def has_code(path: Path) -> bool:
    """Return whether a file has more than a docstring and imports."""
    body = ast.parse(path.read_bytes()).body
    return any(not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom) for node in body)


def mirror_of(path: Path) -> Path:
    return TESTS / path.relative_to(PACKAGE).parent / f"test_{path.stem}.py"


def test_every_file_of_the_package_has_its_test_file() -> None:
    missing = [
        relative(path)
        for path in sources()
        if has_code(path) and not mirror_of(path).exists() and relative(path) not in UNMIRRORED
    ]
    assert not missing, "write a test or give the reason in UNMIRRORED:\n" + "\n".join(missing)


def test_every_test_file_has_its_file_in_the_package() -> None:
    orphans = []
    for path in sorted(TESTS.rglob("test_*.py")):
        inside = path.relative_to(TESTS)
        source = PACKAGE / inside.parent / f"{path.stem.removeprefix('test_')}.py"
        known = inside.parts[0] in RINGS or relative(path) in UNPAIRED
        if not known and not source.exists():
            orphans.append(relative(path))
    assert orphans == []


def test_the_lists_of_exceptions_name_only_what_exists() -> None:
    listed = [*UNMIRRORED, *UNPAIRED, *BANNED_ALLOWED]
    assert [name for name in listed if not (ROOT / name).exists()] == []
    needless = [name for name in UNMIRRORED if mirror_of(ROOT / name).exists()]
    assert needless == []


def python_files() -> list[Path]:
    scripts = [path for path in (ROOT / "scripts").rglob("*.py") if path.is_file()]
    return [*sources(), *scripts, *TESTS.rglob("*.py")]


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {relative(path): len(path.read_bytes().splitlines()) for path in python_files()}
    long = [f"{name}: {lines}" for name, lines in lengths.items() if lines > MOST_LINES]
    assert not long, "\n".join(long)


def test_no_function_is_longer_than_40_lines() -> None:
    long = []
    for path in [*sources(), *(ROOT / "scripts").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                name = f"{relative(path)}:{node.name}"
                if lines > MOST_FUNCTION_LINES and name not in LONG_FUNCTIONS:
                    long.append(f"{name}: {lines}")
    assert not long, "\n".join(long)


def test_nothing_is_called_by_a_word_that_says_nothing() -> None:
    found = []
    for path in sources():
        names = [path.stem, *path.relative_to(PACKAGE).parent.parts]
        names += [
            node.name
            for node in ast.walk(ast.parse(path.read_bytes()))
            if isinstance(node, ast.ClassDef)
        ]
        for name in names:
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", name)}
            if words & BANNED and relative(path) not in BANNED_ALLOWED:
                found.append(f"{relative(path)}: {name}")
    assert not found, "\n".join(found)


def test_no_file_has_a_path_of_the_machine_it_was_written_on() -> None:
    suspicious = re.compile(rb"/(?:work|root|home/[a-z]+|Users)/[A-Za-z.]")
    files = [path for folder in ("appliance", "scripts", "etc") for path in walk(ROOT / folder)]
    found = [relative(path) for path in files if suspicious.search(path.read_bytes())]
    assert found == []


def walk(folder: Path) -> list[Path]:
    text = {".py", ".toml", ".md", ".txt", ".sh", ".conf", ".json", ".yaml", ""}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in text and "__pycache__" not in path.parts
    ]


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", changes, flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_the_newest_entry_of_the_debian_changelog_is_this_version() -> None:
    path = ROOT / "debian" / "changelog"
    if not path.exists():
        pytest.skip("there is no debian/changelog yet")
    newest = re.match(r"inference-appliance \(([^)-]+)", path.read_text(encoding="utf-8"))
    assert newest is not None
    assert newest[1] == __version__


def test_the_license_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "license = Apache-2.0" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["run", "test", "check", "fix", "lock", "venv", "generate"])
def test_the_scripts_can_be_started(name: str) -> None:
    path = ROOT / "scripts" / name
    assert path.stat().st_mode & 0o111
    assert path.read_bytes().startswith(b"#!/usr/bin/env ")


def test_every_locked_requirement_has_hashes_and_no_index() -> None:
    for name in ("runtime", "development"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index-url" not in text
        pins = re.findall(r"^[a-z0-9][^\n]*==[^\n]*(?:\n[ ]+--hash[^\n]*)*", text, re.MULTILINE)
        assert pins
        assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
