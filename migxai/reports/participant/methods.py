"""The methods paragraph: what was done, in words that can go into a paper, with its references.

The text follows from the configuration and from `MethodsFacts`, so a step that was skipped is never claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from migxai.config import Config
from migxai.evaluation.formatting import listed
from migxai.indicators.registry import INDICATORS
from migxai.reports.rendering import Reference, cite, cited, references_with


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


class Paragraph(NamedTuple):
    """A paragraph of the methods text."""

    heading: str
    text: str


@dataclass(frozen=True)
class MethodsText:
    """The methods paragraphs: heading and text of each, and the references that they cite, in order."""

    paragraphs: tuple[Paragraph, ...]
    references: tuple[Reference, ...]

    def markdown(self) -> str:
        """Return the text as Markdown, for ``logs/CITATION.md``."""
        lines = []
        for one in self.paragraphs:
            lines += [f"### {one.heading}", "", one.text, ""]
        lines += ["### References", ""]
        for place, work in enumerate(self.references, 1):
            lines.append(f"{place}. {work.entry}" + (f" doi:{work.doi}" if work.doi else ""))
        return "\n".join(lines) + "\n"


def methods_text(config: Config, facts: MethodsFacts) -> MethodsText:
    """Write the methods paragraphs of what was really done, with the references that they cite."""
    steps: Sequence[tuple[str, Callable[[Config, MethodsFacts], list[str]]]] = (
        ("Software", _software),
        ("Preprocessing", _raw if facts.source == "raw" else _fmriprep),
        ("Denoising", _denoising),
        ("Indicators", _indicators),
    )
    known = references_with(INDICATORS.values())
    written = [(heading, write(config, facts)) for heading, write in steps]
    references = cited(" ".join(sentence for _, sentences in written for sentence in sentences), known)
    paragraphs = tuple(Paragraph(heading, cite(sentences, known)) for heading, sentences in written)
    return MethodsText(paragraphs, tuple(references))


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
    signals = f" and the mean signals of {listed(tissues)}" if tissues else ""
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
