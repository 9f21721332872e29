"""The table of what must hold names tests that exist, and every case that the core promises."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "reliability.md"
#: Bad input (1 to 25), overload (to 43), crashes (47 to 63), full disks, damage, models, attacks.
PROMISED = {
    *range(1, 38),
    *(39, 40, 41, 43),
    *range(47, 69),
    *range(73, 79),
    *(80, 82, 86, 87),
    *(101, 102, 103, 105, 106),
    *range(109, 114),
}
_ROW = re.compile(r"\| (\d+) \| [^|]+ \| ([^|]+) \|")
_TEST = re.compile(r"`(tests/[\w/]+\.py):(test_\w+)`")


def rows() -> dict[int, list[tuple[str, str]]]:
    """The tests of each case, as file and name."""
    found = [_ROW.fullmatch(line) for line in TABLE.read_text().splitlines()]
    return {int(row[1]): _TEST.findall(row[2]) for row in found if row}


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_bytes())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promised_case_has_a_test() -> None:
    table = rows()
    assert sorted(PROMISED - set(table)) == []
    assert [number for number, tests in table.items() if not tests] == []


def test_every_test_that_is_named_exists() -> None:
    files = {file for tests in rows().values() for file, _ in tests}
    known = {file: names_in(ROOT / file) for file in sorted(files) if (ROOT / file).exists()}
    missing = [
        f"{number}: {file}:{name}"
        for number, tests in rows().items()
        for file, name in tests
        if name not in known.get(file, ())
    ]
    assert missing == []


def test_every_case_that_a_test_is_named_after_is_in_the_table() -> None:
    named = {
        int(number)
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in names_in(path)
        if (prefix := re.match(r"test_((?:c\d+_)+)", name))
        for number in re.findall(r"c(\d+)_", prefix[1])
    }
    assert sorted(named - set(rows())) == []
