from __future__ import annotations

import base64
import re
from io import BytesIO

import pytest
from PIL import Image

from migxai.reports.figures.drawing import drawing_style, new_figure
from migxai.reports.group import gallery
from migxai.reports.group.gallery import SIMULATED, Gallery


def draw(width=None):
    figure = new_figure(2.0)
    if width:
        figure.set_figwidth(width)
    figure.subplots().plot([0, 1])
    return figure


def embedded(html):
    kind, code = re.search(r'src="data:image/([a-z+]+);base64,([^"]+)"', html).groups()
    return kind, base64.b64decode(code)


@pytest.fixture(autouse=True)
def as_for_print(monkeypatch):
    monkeypatch.setattr(gallery, "PRINT_DPI", 300)
    with drawing_style():
        yield


def test_a_figure_is_kept_as_svg_and_for_print_and_shown_with_words(tmp_path):
    html = Gallery(tmp_path).add(draw(), "line", title="A <line>", words="It rises & ends.")
    kind, content = embedded(html)
    assert (kind, content) == ("svg+xml", (tmp_path / "line.svg").read_bytes())
    with Image.open(tmp_path / "line.png") as image:
        assert image.size == (3000, 600)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert 'alt="A &lt;line&gt;"' in html
    assert "It rises &amp; ends." in html
    assert 'href="figures/line.png"' in html


def test_brains_are_shown_as_pictures_of_the_screens_size(tmp_path):
    kind, content = embedded(Gallery(tmp_path).add(draw(5), "b", title="B", words="b", inline="webp"))
    assert (kind, Image.open(BytesIO(content)).size) == ("webp", (500, 200))


def test_a_figure_narrower_than_the_page_is_not_blown_up(tmp_path):
    assert "max-width:50%" in Gallery(tmp_path).add(draw(5), "b", title="B", words="b")


def test_the_same_bytes_twice(tmp_path):
    pages = [Gallery(tmp_path / name).add(draw(), "a", title="A", words="a", inline="webp") for name in "xy"]
    assert pages[0] == pages[1]
    for end in ("svg", "png"):
        assert (tmp_path / "x" / f"a.{end}").read_bytes() == (tmp_path / "y" / f"a.{end}").read_bytes()


def test_made_up_data_say_so_on_the_picture_and_in_its_words(tmp_path):
    plain, stamped = draw(), draw()
    Gallery(tmp_path / "plain").add(plain, "a", title="A", words="a")
    html = Gallery(tmp_path / "made", simulated=True).add(stamped, "a", title="A", words="a")
    assert SIMULATED in html
    assert (stamped.get_suptitle(), plain.get_suptitle()) == (SIMULATED, "")
    assert (tmp_path / "made" / "a.png").read_bytes() != (tmp_path / "plain" / "a.png").read_bytes()


def test_without_room_the_files_are_left(tmp_path):
    html = Gallery(tmp_path, room=10).add(draw(), "a", title="A", words="a")
    assert "data:image" not in html
    assert "no more room" in html
    assert (tmp_path / "a.png").is_file()


def test_figures_of_an_earlier_report_go(tmp_path):
    gallery = Gallery(tmp_path)
    gallery.add(draw(), "new", title="A", words="a")
    (tmp_path / "old.svg").write_text("")
    (tmp_path / "notes.txt").write_text("")
    gallery.remove_others()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.png", "new.svg", "notes.txt"]
