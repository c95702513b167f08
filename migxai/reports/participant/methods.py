"""The methods paragraph: what was done, in words that can go into a paper, with its references.

The text follows from the configuration and from `MethodsFacts`, so a step that was skipped is never claimed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Literal

from migxai.config import Config
from migxai.indicators.registry import INDICATORS

#: A paragraph: its heading, and its sentences, in which ``[@key]`` cites `references.yml`.
Paragraph = tuple[str, list[str]]

_MARK = re.compile(r"\[@([A-Za-z0-9_;@ -]+)\]")


@dataclass(frozen=True)
class MethodsFacts:
    """What the configuration leaves open until the data are read. None: not known (yet), or not the same in all runs.

    Attributes
    ----------
    version
        Of migxai.
    source
        Raw images, or fMRIPrep's derivatives.
    source_version
        Version of fMRIPrep.
    space
        Template space of the outputs.
    slice_timing
        Whether slice timing was corrected.
    anatomical
        Whether a T1w image led the way to the template.
    brain_extraction
        Whether the T1w image's brain was extracted here; False if the image came without a skull.
    n_dropped
        Volumes dropped at the beginning of each run.
    n_excluded
        Runs excluded for motion.
    """

    version: str
    source: Literal["raw", "fmriprep"] = "raw"
    source_version: str | None = None
    space: str = "MNI152NLin2009cAsym"
    slice_timing: bool | None = None
    anatomical: bool | None = None
    brain_extraction: bool | None = None
    n_dropped: int | None = None
    n_excluded: int | None = None


def methods_markdown(config: Config, facts: MethodsFacts) -> str:
    """Return the methods paragraph as Markdown, with a list of references.

    Parameters
    ----------
    config
        The run's configuration.
    facts
        What was really done.

    Returns
    -------
    str
        Text for ``logs/CITATION.md``.
    """
    paragraphs = _paragraphs(config, facts)
    keys = _keys(paragraphs)
    known = _references()
    lines = []
    for heading, sentences in paragraphs:
        lines += [f"### {heading}", "", _cite(" ".join(sentences)), ""]
    lines += ["### References", ""]
    lines += [f"{place}. {known[key]['entry']}{_doi(known[key])}" for place, key in enumerate(keys, 1)]
    return "\n".join(lines) + "\n"


def methods_html(config: Config, facts: MethodsFacts) -> str:
    """Return the methods paragraph as HTML for the report; parameters as for `methods_markdown`.

    Returns
    -------
    str
        Headings, paragraphs and a list whose DOIs are links.
    """
    paragraphs = _paragraphs(config, facts)
    known = _references()
    lines = ["<p>The text may be copied into a paper (CC0).</p>"]
    for heading, sentences in paragraphs:
        lines.append(f"<h3>{escape(heading)}</h3>\n<p>{escape(_cite(' '.join(sentences)), quote=False)}</p>")
    items = "\n".join(
        f"<li>{escape(known[key]['entry'], quote=False)}{_doi(known[key], link=True)}</li>" for key in _keys(paragraphs)
    )
    lines.append(f"<h3>References</h3>\n<ol>\n{items}\n</ol>")
    return "\n".join(lines)


def _paragraphs(config: Config, facts: MethodsFacts) -> list[Paragraph]:
    steps: Sequence[tuple[str, Callable[[Config, MethodsFacts], list[str]]]] = (
        ("Software", _software),
        ("Preprocessing", _raw if facts.source == "raw" else _fmriprep),
        ("Denoising", _denoising),
        ("Indicators", _indicators),
    )
    return [(heading, write(config, facts)) for heading, write in steps]


def _software(config: Config, facts: MethodsFacts) -> list[str]:
    sentences = [
        f"Data organised as BIDS [@gorgolewski2016] were processed with migxai {facts.version}, which builds on "
        "Nipype [@gorgolewski2011] and PyBIDS [@yarkoni2019]."
    ]
    if config.preset == "paper":
        sentences.append("Parameters and the order of steps follow [@li2025].")
    return sentences


def _raw(config: Config, facts: MethodsFacts) -> list[str]:
    settings = config.preprocessing
    timing = {
        True: f"Slices were interpolated in time to {settings.slice_time_ref:g} of the repetition time.",
        False: "Slice timing was not corrected.",
        None: "Slice timing was corrected where the acquisition times were known."
        if settings.slice_timing != "off"
        else "Slice timing was not corrected.",
    }[facts.slice_timing if settings.slice_timing != "off" else False]
    sentences = [
        _dropped(config, facts),
        timing,
        "Volumes were realigned to the first one kept by a rigid transform that minimises squared differences "
        "(Gauss-Newton).",
        "Framewise displacement was computed after [@power2012] and [@jenkinson2002], and DVARS after [@power2014].",
        f"Runs whose head moved by more than {settings.max_translation:g} mm or {settings.max_rotation:g} degrees "
        "were excluded from the analysis of groups" + _excluded(facts),
    ]
    return sentences + _normalisation(config, facts)


def _dropped(config: Config, facts: MethodsFacts) -> str:
    number = facts.n_dropped if facts.n_dropped is not None else config.preprocessing.dummy_scans
    if number == "auto":
        return "Volumes acquired before the steady state were detected and dropped."
    return f"The first {number} volumes of each run were dropped." if number else "No volumes were dropped."


def _excluded(facts: MethodsFacts) -> str:
    if facts.n_excluded is None:
        return "."
    return f" ({facts.n_excluded} {'run' if facts.n_excluded == 1 else 'runs'})."


def _normalisation(config: Config, facts: MethodsFacts) -> list[str]:
    settings = config.preprocessing
    engine = "Greedy [@yushkevich2016]" if settings.registration == "greedy" else "ANTs [@avants2008]"
    sentences = []
    with_t1w = facts.anatomical if facts.anatomical is not None else settings.anat != "none"
    if with_t1w:
        extract = facts.brain_extraction if facts.brain_extraction is not None else settings.skull_strip_t1w != "skip"
        if extract:
            sentences.append("The brain was extracted from the T1-weighted image with deepbet [@fisch2024].")
        sentences.append(
            f"With {engine}, the mean functional image was registered to the T1-weighted image (rigid), and the latter "
            f"to the template {facts.space} [@fonov2011] (affine, then deformable)."
        )
    else:
        sentences.append(
            f"Without a T1-weighted image, the mean functional image was registered with {engine} to a functional "
            f"template in {facts.space} [@fonov2011] (affine, then deformable)."
        )
    grid = "" if settings.resolution == "native" else f" of {settings.resolution:g} mm"
    sentences.append(
        f"Motion, coregistration and normalisation were composed, and the series interpolated once onto a grid{grid}."
    )
    return sentences


def _fmriprep(config: Config, facts: MethodsFacts) -> list[str]:
    settings = config.preprocessing
    version = f" {facts.source_version}" if facts.source_version else ""
    sentences = [
        f"Images preprocessed by fMRIPrep{version} [@esteban2019] in the space {facts.space} were taken as input."
    ]
    sentences.append(_dropped(config, facts))
    if settings.use_aroma:
        sentences.append("They had been denoised by ICA-AROMA [@pruim2015].")
    if settings.resolution != "native":
        sentences.append(f"They were resampled once onto a grid of {settings.resolution:g} mm.")
    sentences.append(
        f"Runs whose head moved by more than {settings.max_translation:g} mm or {settings.max_rotation:g} degrees "
        "were excluded from the analysis of groups" + _excluded(facts)
    )
    return sentences


def _denoising(config: Config, facts: MethodsFacts) -> list[str]:  # noqa: ARG001 - one signature for all paragraphs
    settings = config.denoising
    motion = {
        6: "six motion parameters",
        12: "six motion parameters and their derivatives",
        24: "24 motion terms [@friston1996]",
    }[settings.motion_terms]
    chosen = (settings.wm, "white matter"), (settings.csf, "cerebrospinal fluid"), (settings.gsr, "whole brain")
    tissues = [name for wanted, name in chosen if wanted]
    signals = f" and the mean signals of {_enumerate(tissues)}" if tissues else ""
    smooth = f"a Gaussian kernel of {settings.fwhm:g} mm full width at half maximum"
    if settings.order == "paper":
        sentences = [
            f"Series were filtered to {settings.band}"
            + (f", smoothed with {smooth}" if settings.fwhm else "")
            + f", and then cleared of {motion}{signals} by linear regression."
        ]
    else:
        sentences = [
            f"Series were cleared of {motion}{signals} by linear regression and filtered to {settings.band}; the "
            "regressors were filtered exactly as the data, so that neither step undoes the other [@lindquist2019]."
        ]
        if settings.fwhm:
            sentences.append(f"Smoothing used {smooth}.")
    if settings.fd_threshold is not None:
        sentences.append(
            f"Volumes with a framewise displacement above {settings.fd_threshold:g} mm were censored"
            + (f", and runs left with less than {settings.min_time:g} s excluded." if settings.min_time else ".")
        )
    return sentences


def _indicators(config: Config, facts: MethodsFacts) -> list[str]:  # noqa: ARG001 - one signature for all paragraphs
    entries = [INDICATORS[stat] for stat in config.indicators.indicators]
    sentences = []
    for entry in entries:
        sentences.append(entry.sentence(config))
        if entry.origin:
            sentences.append(f"It was computed by {entry.origin}, an extension of migxai.")
    if config.preset != "paper":
        which = "the other indicators" if any(entry.origin for entry in entries) else "indicators"
        sentences.append(f"The choice of {which} follows [@li2025].")
    return sentences


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _references() -> dict[str, dict[str, str]]:
    import yaml

    text = (resources.files("migxai.data") / "reports" / "references.yml").read_text(encoding="utf-8")
    references: dict[str, dict[str, str]] = yaml.safe_load(text)
    return references | {entry.name: _reference(entry.citation) for entry in INDICATORS.values() if entry.citation}


def _reference(citation: str) -> dict[str, str]:
    """Take a reference in full apart: how the text names it, the entry of the list, and the DOI.

    The text names the first author without initials ("Zang YF, et al." is Zang) and the year before the volume.
    """
    entry, _, doi = citation.partition(" doi:")
    authors = entry.partition(". ")[0]
    surname = re.split(r" [A-Z]{1,3}\b|,", authors)[0]
    years = re.findall(r"\b((?:19|20)\d\d)(?=;)", entry) or re.findall(r"\b(?:19|20)\d\d\b", entry)
    several = " et al." if "," in authors else ""
    return {"cite": f"{surname}{several}, {years[-1] if years else 'n.d.'}", "entry": entry, "doi": doi}


def _keys(paragraphs: Sequence[Paragraph]) -> list[str]:
    text = " ".join(sentence for _, sentences in paragraphs for sentence in sentences)
    return list(dict.fromkeys(key for mark in _MARK.findall(text) for key in re.split(r"[;@ ]+", mark)))


def _doi(reference: dict[str, str], *, link: bool = False) -> str:
    doi = reference["doi"]
    return "" if not doi else f' <a href="https://doi.org/{doi}">doi:{doi}</a>' if link else f" doi:{doi}"


def _cite(text: str) -> str:
    """Name authors and year; in brackets, unless the sentence needs them as a noun or is in brackets already."""
    known = _references()

    def noun(match: re.Match[str]) -> str:
        authors, year = known[match[2]]["cite"].rsplit(", ", 1)
        return f"{match[1]} {authors} ({year})"

    text = re.sub(r"\b(after|and|follow|follows) \[@([A-Za-z0-9_-]+)\]", noun, text)
    text = re.sub(
        r"(\([^()\[]*) \[@([A-Za-z0-9_-]+)\]\)", lambda match: f"{match[1]}; {known[match[2]]['cite']})", text
    )
    return _MARK.sub(lambda match: f"({known[match[1]]['cite']})", text)
