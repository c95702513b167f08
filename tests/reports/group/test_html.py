from __future__ import annotations

import pandas as pd
import pytest

from migxai.evaluation import wording
from migxai.reports.group import html


def test_what_comes_from_files_is_escaped():
    text = html.table([["<b>", "a & b"]], ["<i>", "x"], caption='"c" <c>')
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert "a &amp; b" in text
    assert 'aria-label="&quot;c&quot; &lt;c&gt;"' in text
    assert "<em>" not in html.paragraph("<em>") + html.bullets(["<em>"]) + html.box("<em>", "") + html.folded(
        "<em>", ""
    )


def test_tables_head_their_rows_and_columns():
    text = html.table([["a", 1.23456, None], ["b", float("nan"), ""]], ["x", "y", "z"], caption="c", marked={1: "bad"})
    assert text.count('<th scope="col">') == 3
    assert text.count('<th scope="row">') == 2
    assert ">1.23<" in text
    assert text.count(">–<") == 3
    assert '<tr class="bad">' in text
    assert html.table([], ["x"], caption="c") == html.bullets([]) == ""


def test_empty_columns_of_a_frame_are_left_out():
    frame = pd.DataFrame({"a": ["1"], "b": ["n/a"], "c": [""]})
    assert html.frame_table(frame, caption="c").count('scope="col"') == 1


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (wording.percent(0.12345), "12.3 %"),
        (wording.percent(float("nan")), "–"),
        (wording.interval(0.1, 0.25), "10.0 to 25.0 %"),
        (wording.interval(float("nan"), 1.0), "–"),
        (wording.listed(["a", "b", "c"]), "a, b and c"),
        (wording.listed(["a"]), "a"),
        (wording.listed([]), ""),
        (wording.plural(1, "person", "people"), "1 person"),
        (wording.plural(2, "part"), "2 parts"),
        (wording.slug("MWoA+MWA - HC"), "mwoa-mwa-hc"),
    ],
)
def test_words(found, text):
    assert found.replace("\N{NO-BREAK SPACE}", " ") == text
