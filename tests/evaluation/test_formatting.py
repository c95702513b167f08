from __future__ import annotations

import pytest

from migxai.evaluation import formatting


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (formatting.percent(0.12345), "12.3 %"),
        (formatting.percent(float("nan")), "–"),
        (formatting.interval(0.1, 0.25), "10.0 to 25.0 %"),
        (formatting.interval(float("nan"), 1.0), "–"),
        (formatting.listed(["a", "b", "c"]), "a, b and c"),
        (formatting.listed(["a"]), "a"),
        (formatting.listed([]), ""),
        (formatting.plural(1, "person", "people"), "1 person"),
        (formatting.plural(2, "part"), "2 parts"),
        (formatting.slug("MWoA+MWA - HC"), "mwoa-mwa-hc"),
    ],
)
def test_words(found, text):
    assert found.replace("\N{NO-BREAK SPACE}", " ") == text
