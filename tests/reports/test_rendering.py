"""Pages, tables, and literature in texts."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest
from jinja2 import UndefinedError

from migxai.registry import Entry
from migxai.reports.rendering import (
    Reference,
    Table,
    cite,
    cited,
    mark,
    number_text,
    references_with,
    render,
    template_source,
)


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


ENTRIES = [
    Entry(name="new", title="New", citation="Doe J, et al. A title. A journal 1999;1:2-3. doi:10.1/x"),
    Entry(name="paper", title="Paper", citation="Li G. The same work. 2025. doi:10.2196/72155"),
    Entry(name="key", title="Key", citation="breiman2001"),
    Entry(name="none", title="None"),
]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Zang YF, et al. Altered 1998 activity. Brain 2007;29:83-91. doi:10.1/x", "Zang et al., 2007"),
        ("Roe R. A book 2001.", "Roe, 2001"),
        ("Draelos RL, Carin L. Use HiResCAM. arXiv 2020 (arXiv:2011.08891).", "Draelos & Carin, 2020"),
        ("Muhammad MB, Yeasin M, Third T. Maps. IJCNN 2020. doi:10.1/y", "Muhammad et al., 2020"),
        ("Roe R. Undated.", "Roe, n.d."),
    ],
)
def test_a_reference_is_taken_apart(text, name):
    found = Reference.parse(text)
    assert found.cite == name
    assert found.entry + (f" doi:{found.doi}" if found.doi else "") == text


def test_names_stand_in_brackets_unless_the_sentence_needs_them():
    known = references_with(ENTRIES)
    text = cite(["Done after [@new].", "A forest [@key] grew (trees [@new])."], known)
    assert text == "Done after Doe et al. (1999). A forest (Breiman, 2001) grew (trees; Doe et al., 1999)."


def test_a_work_is_listed_once_whoever_cites_it():
    known = references_with(ENTRIES)
    assert cited("[@paper] [@li2025] [@new]", known) == [known["li2025"], known["new"]]
    assert [mark(one) for one in [*ENTRIES[:1], ENTRIES[-1], None]] == [" [@new]", "", ""]
