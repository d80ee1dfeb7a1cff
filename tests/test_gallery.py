"""The gallery: the committed page is the one that the demo writes, and every picture in it can be drawn."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from demos import gallery
from tinygrad7.draw import compose

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.host


def test_the_committed_page_is_up_to_date() -> None:
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == gallery.page()


def test_every_picture_is_committed_and_holds_its_ops() -> None:
    committed = {path.stem: path for path in (DOCS / "gallery").glob("*.svg")}
    assert set(committed) == {p.name for p in gallery.PICTURES}
    for p in gallery.PICTURES:
        words = "".join(ElementTree.parse(committed[p.name]).getroot().itertext())
        options = {key: value for key, value in p.options.items() if key != "backward"}
        for box in compose(p.make(), **options).picture.boxes:
            assert box.label.replace(" ", "") in words.replace("\xa0", "").replace(" ", ""), f"{p.name}: {box.label}"


def test_the_demo_writes_page_and_pictures(tmp_path: Path) -> None:
    assert gallery.main(["--to", str(tmp_path), "--format", "dot"]) == 0
    assert {path.stem for path in (tmp_path / "gallery").iterdir()} == {p.name for p in gallery.PICTURES}
    assert (tmp_path / "gallery.md").exists()
