import io

import pytest
from PIL import Image

from appliance.host.jobs.paper import BLUE, INK, Paper, fitting, mixed, text_width


def drawn(paper: Paper) -> Image.Image:
    return Image.open(io.BytesIO(paper.png())).convert("RGB")


def test_a_sheet_has_the_size_that_was_asked_for_and_what_was_drawn() -> None:
    paper = Paper(120, 90)
    paper.box(10, 20, 60, 70, fill=BLUE)
    picture = drawn(paper)
    assert picture.size == (120, 90)
    assert picture.getpixel((30, 40)) == (59, 110, 168)
    assert picture.getpixel((90, 10)) == (255, 255, 255)


def test_everything_can_be_drawn() -> None:
    paper = Paper(200, 200)
    paper.title("Title", "below")
    paper.rotated_text(50, 190, "upwards")
    paper.line((0, 0), (50, 50), colour=INK, width=2)
    paper.dashes((0, 199), (199, 0), INK)
    paper.dot(100, 100, 5, BLUE)
    colours = drawn(paper).getcolors(maxcolors=1 << 20)
    assert colours is not None
    assert len(colours) > 10


def test_words_are_cut_to_their_room() -> None:
    assert fitting("short", 500) == "short"
    cut = fitting("a very long label that fits nowhere", 80)
    assert cut.endswith("…")
    assert text_width(cut) <= 80
    assert fitting("anything", 0) == "…"


@pytest.mark.parametrize(
    ("share", "colour"), [(0, "#000000"), (1, "#ffffff"), (0.5, "#808080"), (7, "#ffffff")]
)
def test_colours_are_mixed(share: float, colour: str) -> None:
    assert mixed("#000000", "#ffffff", share) == colour
