"""A scene that was told of no programs hears nothing from them."""

from pathlib import Path

from tests.actions.test_doctor import scene


def test_without_a_way_to_ask_nothing_is_said(tmp_path: Path) -> None:
    assert scene(tmp_path).ask(["nft", "-j", "list", "ruleset"]) is None
