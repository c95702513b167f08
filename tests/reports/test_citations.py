from __future__ import annotations

import pytest

from migxai.registry import Entry
from migxai.reports.citations import Reference, cite, cited, mark, references_with

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
