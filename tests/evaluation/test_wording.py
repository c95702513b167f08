from __future__ import annotations

import pytest

from migxai.evaluation import wording


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
