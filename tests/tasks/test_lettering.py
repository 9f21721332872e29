"""Which letters a label is drawn with; what cannot be drawn is told by its number."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from appliance.tasks import drawing, lettering
from appliance.tasks.lettering import font_for, legible, words_of

SHIPPED = ["Größe", "naïve café", "Łódź", "Ελληνικά", "Грузовик", "Việt", "…"]


@pytest.fixture
def system_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder where fonts of the system are looked for."""
    folder = tmp_path / "share" / "fonts"
    folder.mkdir(parents=True)
    monkeypatch.setattr(lettering, "SYSTEM_FOLDERS", (str(tmp_path / "share"),))
    forget()
    yield folder
    forget()


CACHES = (lettering._system_fonts, lettering._has, lettering._opened)


def forget() -> None:
    for cached in CACHES:
        cached.cache_clear()


def test_the_shipped_font_and_its_licence_are_there() -> None:
    assert lettering.SHIPPED.is_file()
    licence = (lettering.SHIPPED.parent / "LICENSE.txt").read_text()
    assert "SIL OPEN FONT LICENSE" in licence


def test_plain_letters_keep_the_font_inside_pillow(system_fonts: Path) -> None:
    assert font_for("car 87%", 20).getname()[0] == "Aileron"


@pytest.mark.parametrize("label", SHIPPED)
def test_scripts_of_the_shipped_font_need_nothing_installed(
    label: str, system_fonts: Path
) -> None:
    assert legible(label, 7) == label
    assert font_for(label, 20).getname() == ("Source Sans Pro", "Regular")


def test_every_letter_is_drawn_and_none_as_a_box(system_fonts: Path) -> None:
    font = font_for("Ж", 40)
    box = bytes(font.getmask("\U0010ffff"))
    assert all(bytes(font.getmask(letter)) != box for letter in "ЖÖλ")


@pytest.mark.parametrize("label", ["货车", "트럭", "ट्रक", "รถบรรทุก", "car 货车"])
def test_a_label_that_no_font_has_is_told_by_its_number(label: str, system_fonts: Path) -> None:
    assert legible(label, 7) == "class 7"
    picture = Image.new("RGB", (300, 200), (128, 128, 128))
    drawing.marked(picture, [drawing.Mark((50, 60, 250, 180), f"{label} 87%", (220, 30, 30))])


def test_a_font_of_the_system_serves_what_the_shipped_one_has_not(
    system_fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(lettering.SHIPPED, system_fonts / "Other-Regular.ttf")
    monkeypatch.setattr(lettering, "SHIPPED", system_fonts / "absent.ttf")
    forget()
    assert legible("Грузовик", 7) == "Грузовик"
    assert str(font_for("Грузовик", 20).path) == str(system_fonts / "Other-Regular.ttf")


def test_damaged_and_odd_fonts_of_the_system_are_passed_by(
    system_fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (system_fonts / "A-Broken.ttf").write_bytes(b"no font")
    (system_fonts / "notes.txt").write_text("no font")
    shutil.copy(lettering.SHIPPED, system_fonts / "B-BoldItalic.ttf")
    monkeypatch.setattr(lettering, "SHIPPED", system_fonts / "absent.ttf")
    forget()
    assert legible("Грузовик", 7) == "class 7"


def test_a_font_without_digits_borrows_them(
    system_fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = str(lettering.SHIPPED)
    has = lettering._has
    monkeypatch.setattr(
        lettering, "_has", lambda path, letter: not letter.isascii() and has(path, letter)
    )
    words = words_of("Грузовик 87%", 20)
    assert [(font.path if font.path == shipped else "", text) for font, text in words.pieces] == [
        (shipped, "Грузовик"),
        ("", " 87%"),
    ]
    assert words.width() == sum(font.getlength(text) for font, text in words.pieces)


@pytest.mark.parametrize("text", ["a\u2029b", "é\r\nü", "\x1cé", "\u202eשלום", ""])
def test_line_ends_and_hidden_characters_are_left_out(text: str) -> None:
    assert words_of(text, 20).width() >= 0


def test_marks_and_joiners_need_no_glyph_of_their_own(system_fonts: Path) -> None:
    assert legible("cafe\u0301", 7) == "cafe\u0301"
