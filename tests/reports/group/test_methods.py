from __future__ import annotations

import dataclasses
import re

import pytest

from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.methods import methods_section
from migxai.reports.rendering import render


def written(results, *maps):
    return render("group/methods.html.jinja", methods=methods_section(results, maps))


def test_the_text_says_what_was_done_and_no_more(results):
    text = written(results)
    assert "after Li et al. (2025)" in text
    assert "Of 25 people in 1 dataset, 24 were analysed and 1 left out." in text
    assert "GoogLeNet (Szegedy et al., 2015)" in text
    assert "SVM (Cortes &amp; Vapnik, 1995) read the maps&#39; means over the regions of AAL" in text
    assert "saw 30 axial slices of each map, scaled" in text
    assert "random weights" in text
    assert "standardised by batch while it learned (He et al., 2022)" in text
    for absent in ("ResNet", "permuted", "ImageNet", "Selvaraju", "[@", "None"):
        assert absent not in text.split("<h3>Said")[0], absent
    assert "This is not a diagnostic device." in text
    assert "A message &lt;of&gt; the run." in text


def test_what_is_cited_is_listed_once(results):
    one = ExplainedMap(results.folder.root, "c", "reho", "googlenet", "Grad-CAM", "class", "HC")
    options = {**results.description["Options"], "permutations": 99, "weights": "imagenet"}
    changed = dataclasses.replace(results, description={**results.description, "Options": options})
    text = written(changed, one)
    listed = re.findall(r'href="https://doi.org/([^"]+)"', text)
    assert len(listed) == len(set(listed)) == 10
    for words in (
        "repeated 99 times with labels permuted",
        "ImageNet (Deng et al., 2009)",
        "Grad-CAM (Selvaraju et al., 2017)",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("leave-one-out", "Each person was tested by models trained on all others"),
        ("leave-one-site-out", "Each site was tested"),
        ("kfold", "People were divided into 2 folds"),
    ],
)
def test_the_cross_validation_is_named(results, scheme, words):
    changed = dataclasses.replace(results, description={**results.description, "CrossValidation": scheme})
    assert words in written(changed)
