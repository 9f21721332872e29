from pathlib import Path

import pytest

from appliance.errors import InvalidInput, PayloadTooLarge
from appliance.host.jobs import label_table


def read(tmp_path: Path, text: str | bytes) -> label_table.LabelTable:
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return label_table.read(path, "table.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_files_and_labels_are_read_whatever_separates_them(tmp_path: Path, separator: str) -> None:
    text = "File,Label\na.png,cat\nb.png,dog\n".replace(",", separator)
    table = read(tmp_path, "\ufeff" + text)
    assert not table.is_text
    assert table.rows == ((2, "a.png", "cat"), (3, "b.png", "dog"))
    assert table.notes == ()


def test_texts_may_hold_commas_and_line_ends(tmp_path: Path) -> None:
    table = read(tmp_path, 'label,text\n1,"Good, really\ngood"\n\n0,bad\n')
    assert table.is_text
    assert [row[1:] for row in table.rows] == [("Good, really\ngood", "1"), ("bad", "0")]


def test_rows_without_a_label_are_left_out_with_a_note(tmp_path: Path) -> None:
    table = read(tmp_path, "file,label\na.png\nb.png,\n,cat\nc.png,cat\n")
    assert len(table.rows) == 1
    assert "3 rows of table.csv lack" in table.notes[0]


@pytest.mark.parametrize(
    "text", ["", "a.png,cat\n", "file,colour\na,b\n", b"file,label\n\xff\xfe,cat\n"]
)
def test_what_is_no_table_of_labels_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(InvalidInput, match=r"table\.csv"):
        read(tmp_path, text)


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_table, "_MOST_ROWS", 2)
    with pytest.raises(PayloadTooLarge):
        read(tmp_path, "file,label\n" + "a.png,cat\n" * 3)


def test_a_quote_that_never_ends_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a CSV"):
        read(tmp_path, 'file,label\n"a.png"x,cat\n')
