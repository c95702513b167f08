from __future__ import annotations

import base64
import re
from io import BytesIO

import pytest
from PIL import Image

from migxai.reports.figures.drawing import drawing_style, new_figure
from migxai.reports.group import gallery
from migxai.reports.group.gallery import SIMULATED, Gallery
from migxai.reports.group.people import PeopleSection
from migxai.reports.rendering import render


def draw(width=None):
    figure = new_figure(2.0)
    if width:
        figure.set_figwidth(width)
    figure.subplots().plot([0, 1])
    return figure


def embedded(picture):
    kind, code = re.fullmatch(r"data:image/([a-z+]+);base64,([^\"]+)", picture.source).groups()
    return kind, base64.b64decode(code)


def shown(picture):
    return render("group/people.html.jinja", people=PeopleSection(picture, (), None, (), None, ""))


@pytest.fixture(autouse=True)
def as_for_print(monkeypatch):
    monkeypatch.setattr(gallery, "PRINT_DPI", 300)
    with drawing_style():
        yield


def test_a_figure_is_kept_as_svg_and_for_print_and_shown_with_words(tmp_path):
    picture = Gallery(tmp_path).add((draw(), "It rises & ends."), "line", "A <line>")
    kind, content = embedded(picture)
    html = shown(picture)
    assert (kind, content) == ("svg+xml", (tmp_path / "line.svg").read_bytes())
    with Image.open(tmp_path / "line.png") as image:
        assert image.size == (3000, 600)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert 'alt="A &lt;line&gt;"' in html
    assert "It rises &amp; ends." in html
    assert 'href="figures/line.png"' in html


def test_brains_are_shown_as_pictures_of_the_screens_size(tmp_path):
    kind, content = embedded(Gallery(tmp_path).add((draw(5), "b"), "b", "B", inline="webp"))
    assert (kind, Image.open(BytesIO(content)).size) == ("webp", (500, 200))


def test_a_figure_narrower_than_the_page_is_not_blown_up(tmp_path):
    assert "max-width:50%" in shown(Gallery(tmp_path).add((draw(5), "b"), "b", "B"))


def test_the_same_bytes_twice(tmp_path):
    pages = [Gallery(tmp_path / name).add((draw(), "a"), "a", "A", inline="webp") for name in "xy"]
    assert pages[0] == pages[1]
    for end in ("svg", "png"):
        assert (tmp_path / "x" / f"a.{end}").read_bytes() == (tmp_path / "y" / f"a.{end}").read_bytes()


def test_made_up_data_say_so_on_the_picture_and_in_its_words(tmp_path):
    plain, stamped = draw(), draw()
    Gallery(tmp_path / "plain").add((plain, "a"), "a", "A")
    html = shown(Gallery(tmp_path / "made", simulated=True).add((stamped, "a"), "a", "A"))
    assert SIMULATED in html
    assert (stamped.get_suptitle(), plain.get_suptitle()) == (SIMULATED, "")
    assert (tmp_path / "made" / "a.png").read_bytes() != (tmp_path / "plain" / "a.png").read_bytes()


def test_without_room_the_files_are_left(tmp_path):
    html = shown(Gallery(tmp_path, room=10).add((draw(), "a"), "a", "A"))
    assert "data:image" not in html
    assert "no more room" in html
    assert (tmp_path / "a.png").is_file()


def test_figures_of_an_earlier_report_go(tmp_path):
    gallery = Gallery(tmp_path)
    gallery.add((draw(), "a"), "new", "A")
    (tmp_path / "old.svg").write_text("")
    (tmp_path / "notes.txt").write_text("")
    gallery.remove_others()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.png", "new.svg", "notes.txt"]
