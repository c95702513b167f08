from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest
from jinja2 import UndefinedError

from migxai.reports.rendering import Table, number_text, render, template_source


def checks(table: Table) -> str:
    return render("group/checks.html.jinja", checks=table)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_what_comes_from_files_is_escaped():
    text = checks(Table('"c" <c>', ("<i>", "x"), [("<b>", "a & b")], style='"><s', links=['"><u>'], tones=['"><u>']))
    assert not {"b", "i", "c", "u", "s"} & set(Tags(text).tags)
    assert "a &amp; b" in text
    assert "&lt;b&gt;" in text


def test_tables_head_their_rows_and_columns():
    rows = [("a", 1.23456, None), ("b", float("nan"), "")]
    text = checks(Table("c", ("x", "y", "z"), rows, tones=["", "bad"], links=["", "b.html"]))
    assert text.count('<th scope="col">') == 3
    assert text.count('<th scope="row">') == 2
    assert ">1.23<" in text
    assert text.count(">–<") == 3
    assert text.count("<tr>") == 2
    assert '<tr class="bad"><th scope="row"><a href="b.html">b</a></th>' in text
    assert checks(Table("c", ("x",), [])).strip() == ""


def test_empty_columns_of_a_frame_are_left_out():
    frame = pd.DataFrame({"a": ["1"], "b": ["n/a"], "c": [""]})
    assert Table.of_frame(frame, "c").heads == ["a"]
    assert Table.of_pairs({"a": 1}, "c").rows == [("a", 1)]


def test_a_template_without_its_data_stops():
    with pytest.raises(UndefinedError):
        render("group/checks.html.jinja")


def test_scripts_and_styles_are_put_in_as_they_are():
    assert "<" in template_source("group/viewer.js")


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (170, "170"), (0.123456, "0.123"), (123.4, "123"), (float("nan"), "nan")]
)
def test_numbers(value, text):
    assert number_text(value) == text
