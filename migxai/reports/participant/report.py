"""The report of one participant: a single HTML file, assembled with nireports from figures and summaries.

nireports finds and orders the reportlets; the sections are specified in ``data/reports/participant.yml``. Its own page
template loads jQuery and Bootstrap from the web and links the figures as files beside the page; both would break a
report that is mailed or opened offline. So the page comes from our template (nireports' ``template_path``), and each
figure is put into the page where nireports made a link.
"""

from __future__ import annotations

import base64
import copy
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from migxai.bids.names import RUN_ENTITIES
from migxai.errors import InputError
from migxai.io import write_text
from migxai.reports.participant import fragments
from migxai.reports.participant.run_summary import RunSummary, find_summaries

_LINK = re.compile(r'<div class="reportlet">\s*<(img|object)[^>]*?(?:src|data)="\./([^"]+)".*?</small>', re.DOTALL)

#: Where a page's links begin, and the one to the group level's report.
_NAV = '<nav aria-label="Sections"><ul>'
_GROUP_LINK = '<li><a href="group/report.html">Group report</a></li>'

#: What pybids calls the entities of a run.
_PYBIDS = {
    "ses": "session",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
}


def write_participant_report(
    output_dir: Path, subject: str, runs: Sequence[RunSummary] | None = None, boilerplate: str = ""
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
    boilerplate
        The methods paragraph as HTML (see `migxai.reports.participant.methods.methods_html`).

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
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        # nireports edits the figures it shows, reads entities from whole paths, and indexes all it finds: it gets a
        # copy of this subject's figures, away from the derivatives.
        staged = Path(folder)
        _stage(staged, output_dir / f"sub-{label}" / "figures", label, summaries, boilerplate)
        page = _assemble(staged, label, summaries)
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
    if _GROUP_LINK not in page and _NAV in page:
        write_text(path, page.replace(_NAV, f"{_NAV}\n{_GROUP_LINK}", 1))


def _stage(staged: Path, figures: Path, label: str, runs: Sequence[RunSummary], boilerplate: str) -> None:
    target = staged / f"sub-{label}" / "figures"
    target.mkdir(parents=True)
    for figure in sorted(figures.glob(f"sub-{label}_*.svg")):
        shutil.copyfile(figure, target / figure.name)
    texts = {
        f"sub-{label}_desc-verdict_T1w": fragments.verdict(runs),
        f"sub-{label}_desc-methods_T1w": boilerplate,
        f"sub-{label}_desc-software_T1w": fragments.software(runs),
    }
    for run in runs:
        texts[f"{run.name}_desc-opening_bold"] = fragments.run_opening(run, alone=len(runs) == 1)
        texts[f"{run.name}_desc-tables_bold"] = fragments.run_tables(run)
        texts[f"{run.name}_desc-regions_bold"] = fragments.region_table(run)
    for name, text in texts.items():
        if text:
            (target / f"{name}.html").write_text(text, encoding="utf-8")


def _assemble(staged: Path, label: str, runs: Sequence[RunSummary]) -> str:
    # nireports imports nipype, which asks a server for its newest version unless told not to.
    os.environ.setdefault("NO_ET", "1")
    os.environ.setdefault("NIPYPE_NO_ET", "1")
    import yaml
    from nireports.assembler.report import Report

    with resources.as_file(resources.files("migxai.data") / "reports") as folder:
        specification = _specification(yaml.safe_load((folder / "participant.yml").read_text(encoding="utf-8")), runs)
        specification["title"] = f"migxai: participant {label}"
        specification["template_path"] = str(folder / "participant.html.jinja")
        bootstrap = staged / "participant.yml"
        bootstrap.write_text(yaml.safe_dump(specification, sort_keys=False), encoding="utf-8")
        report = Report(staged, None, bootstrap_file=bootstrap, out_filename="page.html", subject=label)
        for section in report.sections:
            for reportlet in section.reportlets:
                reportlet.components = [(_inline(html, staged), words) for html, words in reportlet.components]
        report.generate_report()
    return (staged / "page.html").read_text(encoding="utf-8")


def _specification(packaged: dict[str, Any], runs: Sequence[RunSummary]) -> dict[str, Any]:
    """Give each run a section of its own; nireports' `ordering` would put all runs into one."""
    from migxai.indicators.registry import INDICATORS

    # The two reportlets that grow with the registry of indicators.
    figures = {
        "maps": [stat + form for stat in INDICATORS for form in ("", "raw", "zscore")],
        "regions": [f"{stat}regions" for stat in INDICATORS],
    }
    sections = []
    for section in packaged["sections"]:
        if section["name"] != "run":
            sections.append(section)
            continue
        for run in runs:
            mine = copy.deepcopy(section)
            mine.update(name=run.name, title=run.heading[:1].upper() + run.heading[1:])
            for reportlet in mine["reportlets"]:
                # Entities that the run lacks are asked to be absent, or run 1 would show in a section without run.
                reportlet["bids"].update({_PYBIDS.get(key, key): _value(run, key) for key in RUN_ENTITIES[1:]})
                if reportlet["name"] in figures:
                    reportlet["bids"]["desc"] = figures[reportlet["name"]]
                reportlet["name"] = f"{run.name}_{reportlet['name']}"
            sections.append(mine)
    return {**packaged, "sections": sections}


def _value(run: RunSummary, key: str) -> str | int | None:
    value = run.entities.get(key)
    return int(value) if key == "run" and value is not None else value


def _inline(html: str, staged: Path) -> str:
    """Put the figure itself in place of nireports' link to it."""
    match = _LINK.search(html)
    if match is None:
        return html
    svg = (staged / match[2]).read_text(encoding="utf-8")
    # They come from the SVG, so all but the quotes is escaped already.
    words = ". ".join(re.findall(r"<(?:title|desc)>(.*?)</(?:title|desc)>", svg, re.DOTALL)).replace('"', "&quot;")
    if match[1] == "object":
        # A flickering figure listens to the pointer and the keyboard, which it can only inside the page. There its
        # ids must not meet those of the next such figure.
        body = re.sub(r'(\bid="|url\(#|href="#)(?!migxai)', rf"\g<1>{Path(match[2]).stem}-", svg)
        return f'<figure tabindex="0" role="img" aria-label="{words}">{body}</figure>'
    code = base64.b64encode(svg.encode()).decode()
    return f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{code}"/></figure>'
