"""The report of one participant: a run in words and numbers, kept as JSON, and the HTML file made of it.

The page is made from the runs' summaries and the figures beside them alone, so ``--reports-only`` can rebuild it
without touching an image. The schema of a summary is the dataclasses' fields, one key each, as `write_summary` has it.

nireports' assembler was used in version 0.1.0. It indexes the figures with pybids to find files whose names are known
here, and writes a page that links them: each link had then to be found again and replaced by the figure itself, so
that the page can be mailed and read offline. The template and a few lines that read files do the same work.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, Literal

from migxai.bids.names import RUN_ENTITIES
from migxai.errors import InputError
from migxai.indicators.registry import INDICATORS
from migxai.io import write_text
from migxai.reports.figures.drawing import HARDLY, PARTLY
from migxai.reports.participant.methods import MethodsText
from migxai.reports.rendering import Table, number_text, render, template_source

#: Of the JSON; a reader refuses a higher one.
SCHEMA_VERSION = 1
SUFFIX = "_desc-summary_bold.json"

#: The entities of a run in words.
WORDS = {
    "sub": "participant",
    "ses": "session",
    "acq": "acquisition",
    "ce": "contrast",
    "rec": "reconstruction",
    "dir": "direction",
}

Number = float | int | None


@dataclass(frozen=True)
class ProcessingStep:
    """One step of the processing: done or skipped, and how or why."""

    name: str
    status: Literal["done", "skipped"]
    detail: str = ""


@dataclass(frozen=True)
class QualityMeasure:
    """One figure of quality control; `passed` is None where there is no limit to pass."""

    name: str
    value: Number
    unit: str = ""
    limit: str = ""
    passed: bool | None = None


@dataclass(frozen=True)
class RegionValues:
    """One region of the atlas: its coverage (0 to 1) and the mean of each indicator in it (None without data)."""

    name: str
    coverage: float
    values: dict[str, Number]


@dataclass(frozen=True)
class RunSummary:
    """All that the report says of one run besides its figures.

    Attributes
    ----------
    entities
        Those that name the run, by BIDS keys (sub, ses, task, run, ...): see `migxai.bids.names.run_entities`.
    usable
        Whether group level reads the run.
    exclusion
        Why not, a sentence each.
    warnings
        A sentence each.
    inputs, parameters
        Tables of the report: what went in (no paths), and the settings.
    numbers
        Table of the report: volumes, repetition time, degrees of freedom, displacement and the like.
    steps
        What was done and what was skipped, in order.
    quality
        Figures of quality control.
    regions
        In the atlas's order.
    software
        Versions by name.
    """

    entities: dict[str, str]
    usable: bool
    exclusion: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    steps: tuple[ProcessingStep, ...] = ()
    quality: tuple[QualityMeasure, ...] = ()
    regions: tuple[RegionValues, ...] = ()
    software: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.usable == bool(self.exclusion):
            raise ValueError("A run is usable, or it has a reason for its exclusion.")
        if not self.entities.get("sub") or set(self.entities) - set(RUN_ENTITIES):
            raise ValueError(f"The entities {self.entities} do not name a run.")

    @property
    def name(self) -> str:
        """Stem of the run's files, such as ``sub-01_ses-1_task-rest_run-1``."""
        return "_".join(f"{key}-{self.entities[key]}" for key in RUN_ENTITIES if key in self.entities)

    @property
    def heading(self) -> str:
        """The run in words, such as ``session 1, task rest, run 1``."""
        keys = [key for key in RUN_ENTITIES if key in self.entities and key != "sub"] or ["sub"]
        return ", ".join(f"{WORDS.get(key, key)} {self.entities[key]}" for key in keys)

    @property
    def title(self) -> str:
        """The heading as a sentence begins."""
        return self.heading[:1].upper() + self.heading[1:]


def write_summary(summary: RunSummary, figures_dir: Path) -> Path:
    """Write a run's summary into a folder of figures, as ``<name>_desc-summary_bold.json``."""
    content = {"SchemaVersion": SCHEMA_VERSION, **dataclasses.asdict(summary)}
    # JSON has no NaN; None says the same, and is read back as such.
    path = figures_dir / f"{summary.name}{SUFFIX}"
    write_text(path, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def read_summary(path: Path) -> RunSummary:
    """Read what `write_summary` wrote; InputError if the file is absent, no JSON, or not of the schema."""
    remedy = "remove it and run the participant level again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("SchemaVersion") > SCHEMA_VERSION:
            raise InputError(f"{path.name} was written by a newer migxai: update this one, or {remedy}.")
        return RunSummary(
            **{
                **content,
                "exclusion": tuple(content["exclusion"]),
                "warnings": tuple(content["warnings"]),
                "steps": tuple(ProcessingStep(**item) for item in content["steps"]),
                "quality": tuple(QualityMeasure(**item) for item in content["quality"]),
                "regions": tuple(RegionValues(**item) for item in content["regions"]),
            }
        )
    except OSError as error:
        raise InputError(f"{path.name} can't be read ({error.strerror}): run the participant level first.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name} is no summary of a run ({error}): {remedy}.") from error


def find_summaries(output_dir: Path, subject: str) -> tuple[RunSummary, ...]:
    """Read all summaries of a subject, run 2 before run 10; InputError if there is none, or one can't be read."""
    label = subject.removeprefix("sub-")
    folder = output_dir / f"sub-{label}" / "figures"
    paths = sorted(folder.glob(f"sub-*{SUFFIX}"), key=lambda path: natural(path.name))
    if not paths:
        raise InputError(f"There is no summary of a run of sub-{label} in the output: run the participant level first.")
    return tuple(read_summary(path) for path in paths)


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts numbers inside names by value."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    """Link a participant's report to the group's (``group/report.html`` beside it), if it is not linked yet."""
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
