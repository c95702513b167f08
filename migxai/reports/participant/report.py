"""The report of one participant: a single HTML file, made from the figures and the summaries that lie beside it.

nireports' assembler was used in version 0.1.0. It indexes the figures with pybids to find files whose names are known
here, and writes a page that links them: each link had then to be found again and replaced by the figure itself, so
that the page can be mailed and read offline. The template and a few lines that read files do the same work.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from migxai.errors import InputError
from migxai.indicators.registry import INDICATORS
from migxai.io import write_text
from migxai.reports.figures.plots import HARDLY, PARTLY
from migxai.reports.participant.methods import MethodsText
from migxai.reports.participant.run_summary import RegionValues, RunSummary, find_summaries
from migxai.reports.rendering import Table, number_text, render, template_source

#: What a figure of two images that alternate marks its parts with.
_MOVING = 'id="migxai-moving'


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure as the page holds it.

    Attributes
    ----------
    words
        What it is and shows.
    source
        The picture as a data address; empty for one that is part of the page.
    markup
        The SVG, where it listens to the pointer and the keyboard, which it can only inside the page.
    """

    words: str
    source: str = ""
    markup: str = ""


@dataclass(frozen=True)
class Figures:
    """Figures of a run, or of the anatomy, by the value of ``desc-``."""

    by_desc: Mapping[str, Sequence[EmbeddedFigure]]

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.by_desc)

    def of(self, *names: str) -> list[EmbeddedFigure]:
        """Return the figures of some names, in the order of the names."""
        return [figure for name in names for figure in self.by_desc.get(name, ())]


@dataclass(frozen=True)
class RunSection:
    """What the page shows of a run."""

    summary: RunSummary
    figures: Figures
    quality: Table
    steps: Table
    settings: Sequence[Table]
    regions: Table
    about_coverage: str


def write_participant_report(
    output_dir: Path, subject: str, runs: Sequence[RunSummary] | None = None, methods: MethodsText | None = None
) -> Path:
    """Write ``sub-<label>.html`` from ``sub-<label>/figures/*.svg`` and the runs' summaries.

    The page needs no other file and no network, works without JavaScript, and is the same bytes for the same input.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    subject
        Label, with or without ``sub-``.
    runs
        Summaries, in the order to show them; None reads those that lie beside the figures.
    methods
        The methods text (see `migxai.reports.participant.methods.methods_text`).

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    InputError
        If a summary can't be read, or there is none.
    OutputError, ResourceError
        If the report can't be written.
    """
    label = subject.removeprefix("sub-")
    summaries = tuple(runs) if runs is not None else find_summaries(output_dir, label)
    folder = output_dir / f"sub-{label}" / "figures"
    anatomy = _read_figures(folder, f"sub-{label}", "T1w", any_session=True)
    sections = [("summary", "Summary"), *([("anatomy", "Anatomy")] if anatomy.any else [])]
    sections += [(run.name, run.title) for run in summaries]
    page = render(
        "participant/report.html.jinja",
        title=f"migxai: participant {label}",
        simulated="",
        sections=[*sections, ("methods", "Methods")],
        anatomy=anatomy,
        runs=[_run_section(run, _read_figures(folder, run.name, "bold")) for run in summaries],
        map_names=[stat + form for stat in INDICATORS for form in ("", "raw", "zscore")],
        region_names=[f"{stat}regions" for stat in INDICATORS],
        methods=methods,
        software=_software(summaries),
    )
    path = output_dir / f"sub-{label}.html"
    write_text(path, page)
    if (output_dir / "group" / "report.html").is_file():
        link_to_group(path)
    return path


def link_to_group(path: Path) -> None:
    """Link a participant's report to the group's (``group/report.html`` beside it), if it is not linked yet.

    Raises
    ------
    InputError
        If the report cannot be read.
    OutputError, ResourceError
        If it cannot be written.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    # Where the links of a page begin, and the link that comes first.
    start, link = str(template_source("participant/group_link.html")).splitlines()
    if link not in page and start in page:
        write_text(path, page.replace(start, f"{start}\n{link}", 1))


def _read_figures(folder: Path, stem: str, suffix: str, *, any_session: bool = False) -> Figures:
    found: dict[str, list[EmbeddedFigure]] = {}
    for path in sorted(folder.glob(f"{stem}_{'*' if any_session else ''}desc-*_{suffix}.svg")):
        desc = path.stem.removesuffix(f"_{suffix}").rpartition("_desc-")[2]
        found.setdefault(desc, []).append(_embed(path))
    return Figures(found)


def _embed(path: Path) -> EmbeddedFigure:
    svg = path.read_text(encoding="utf-8")
    said = re.findall(r"<(?:title|desc)>(.*?)</(?:title|desc)>", svg, re.DOTALL)
    words = unescape(". ".join(said))
    if _MOVING in svg:
        # Its ids must not meet those of the next such figure.
        own = re.sub(r'(\bid="|url\(#|href="#)(?!migxai)', rf"\g<1>{path.stem}-", svg)
        return EmbeddedFigure(words, markup=own)
    return EmbeddedFigure(words, f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}")


def _run_section(run: RunSummary, figures: Figures) -> RunSection:
    passed = {True: "passed", False: "failed", None: "–"}
    tones = {True: "good", False: "bad", None: ""}
    quality = [
        (item.name, f"{number_text(item.value)} {item.unit}", item.limit, passed[item.passed]) for item in run.quality
    ]
    numbers = {name: number_text(value) for name, value in run.numbers.items()}
    settings = (("Input", run.inputs), ("Numbers", numbers), ("Settings", run.parameters))
    names = list(dict.fromkeys(name for region in run.regions for name in region.values))
    rows = [
        (region.name, f"{region.coverage:.0%}", *(number_text(region.values.get(name)) for name in names))
        for region in run.regions
    ]
    return RunSection(
        summary=run,
        figures=figures,
        quality=Table(
            "Quality control",
            ("Check", "Value", "Limit", "Result"),
            quality,
            style="quality",
            tones=[tones[item.passed] for item in run.quality],
        ),
        steps=Table(
            "Steps",
            (),
            [(step.name, step.status, step.detail or " ") for step in run.steps],
            tones=[step.status for step in run.steps],
        ),
        settings=[Table(title, (), list(pairs.items())) for title, pairs in settings],
        regions=Table("Coverage, and the mean of each indicator", ("Region", "Coverage", *names), rows),
        about_coverage=_about_coverage(run.regions),
    )


def _about_coverage(regions: Sequence[RegionValues]) -> str:
    worst = sorted((region for region in regions if region.coverage < PARTLY), key=lambda region: region.coverage)
    if not worst:
        return f"Every region is covered by at least {PARTLY:.0%}."
    hardly = sum(region.coverage < HARDLY for region in worst)
    named = ", ".join(f"{region.name} {int(100 * region.coverage)}%" for region in worst[:20])
    more = f" and {len(worst) - 20} more" if len(worst) > 20 else ""
    return f"{len(worst)} regions are covered by less than {PARTLY:.0%}, {hardly} by less than half: {named}{more}."


def _software(runs: Sequence[RunSummary]) -> Table:
    """Gather versions; runs made with different ones are said to be."""
    versions: dict[str, set[str]] = {}
    for run in runs:
        for name, version in run.software.items():
            versions.setdefault(name, set()).add(version)
    return Table("Software", (), [(name, ", ".join(sorted(seen))) for name, seen in versions.items()])
