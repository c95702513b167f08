"""The methods paragraph claims what was done, no more, and cites what it names."""

from __future__ import annotations

import re

import pytest

from migxai.config import PAPER_PRESET, Config
from migxai.reports.participant.methods import MethodsFacts, MethodsText, methods_text
from migxai.reports.participant.report import Figures
from migxai.reports.rendering import render


def paper() -> Config:
    config = Config(preset="paper")
    for section, changes in PAPER_PRESET.items():
        config = config.replace(section, **changes)
    return config


CASES = {
    "default": (Config(), MethodsFacts("0.1.0")),
    "done": (Config(), MethodsFacts("0.1.0", slice_timing=True, anatomical=True, brain_extraction=True, n_excluded=1)),
    "no anatomy": (Config(), MethodsFacts("0.1.0", slice_timing=False, anatomical=False)),
    "paper": (paper(), MethodsFacts("0.1.0")),
    "fmriprep": (Config(), MethodsFacts("0.1.0", source="fmriprep", source_version="24.1.0", space="MNI152NLin6Asym")),
}


def markdown(config: Config, facts: MethodsFacts) -> str:
    return methods_text(config, facts).markdown()


def page(methods: MethodsText) -> str:
    data = {"title": "", "simulated": "", "sections": [], "anatomy": Figures({}), "runs": []}
    text = render("participant/report.html.jinja", methods=methods, software=None, **data)
    return text[text.index('<section id="methods"') :]


@pytest.mark.parametrize("case", CASES)
def test_every_citation_is_resolved_and_listed(case: str) -> None:
    for text in (markdown(*CASES[case]), page(methods=methods_text(*CASES[case]))):
        assert "[@" not in text
        assert "None" not in text
        assert not re.search(r"\S  ", text)
        body, references = text.split("References", 1)
        cited = set(re.findall(r"(\w[\w-]+)(?: et al\.)?,? \(?((?:19|20)\d\d)\)", body))
        assert len(cited) >= 10
        for author, year in cited:
            assert re.search(rf"{author}[^\n]*{year}", references), (author, year)
        assert len(re.findall(r"doi:10\.", references)) == len(cited)


def test_skipped_steps_are_not_claimed() -> None:
    text = markdown(*CASES["no anatomy"])
    assert "Slice timing was not corrected." in text
    assert "deepbet" not in text
    assert "Without a T1-weighted image" in text
    assert "Slices were interpolated in time" in markdown(*CASES["done"])
    assert "(1 run)." in markdown(*CASES["done"])
    assert "The first 4 volumes" in markdown(Config(), MethodsFacts("0.1.0", n_dropped=4))
    assert "No volumes were dropped" in markdown(Config(), MethodsFacts("0.1.0", n_dropped=0))
    assert "detected and dropped" in markdown(Config().replace("preprocessing", dummy_scans="auto"), MethodsFacts("0"))


def test_fmriprep_mode_does_not_claim_its_work() -> None:
    text = markdown(*CASES["fmriprep"])
    assert "fMRIPrep 24.1.0 (Esteban et al., 2019) in the space MNI152NLin6Asym" in text
    for word in ("Gauss-Newton", "Greedy", "deepbet", "DVARS"):
        assert word not in text


def test_options_change_the_text() -> None:
    config = Config().replace("denoising", gsr=True, motion_terms=6, fwhm=0.0, fd_threshold=0.5, min_time=120.0)
    text = markdown(config, MethodsFacts("0.1.0"))
    assert "six motion parameters and the mean signals of white matter, cerebrospinal fluid and whole brain" in text
    assert "Smoothing" not in text
    assert "Friston" not in text
    assert "above 0.5 mm were censored, and runs left with less than 120 s excluded" in text
    only = markdown(Config().replace("indicators", indicators=("reho",)), MethodsFacts("0.1.0"))
    assert "ALFF" not in only
    assert "Kendall" in only


def test_the_paper_order_is_told() -> None:
    text = markdown(*CASES["paper"])
    assert "filtered to 0.01 to 0.08 Hz, smoothed with" in text
    assert "follow Li et al. (2025)" in text
    assert "divided by N, N being" in text


def test_html_escapes_and_links() -> None:
    text = page(methods=methods_text(*CASES["default"]))
    assert "Alzheimer's &amp; Dementia" in text or "Alzheimer&#39;s &amp; Dementia" in text
    assert '<a href="https://doi.org/10.2196/72155">' in text
