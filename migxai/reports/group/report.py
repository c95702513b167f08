"""The report of the group level: one HTML file that needs nothing else to be read; its summary and its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migxai.audit.checks import Check
from migxai.audit.runner import check_results, checks_of_audit
from migxai.audit.verdict import HEADLINES, AssessedResult, assess_results, verdict
from migxai.evaluation.group_folder import GroupFolder
from migxai.evaluation.paper import TABLE_2
from migxai.evaluation.results import Results, indicator_name, model_name, read_results
from migxai.evaluation.wording import Tone, plural
from migxai.io import read_json, write_text
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.explained_maps import ExplainedMap, read_explained_maps
from migxai.reports.group.gallery import SIMULATED, Gallery
from migxai.reports.group.maps import NO_MAPS, maps_section
from migxai.reports.group.methods import methods_section
from migxai.reports.group.people import people_section
from migxai.reports.group.results import results_section
from migxai.reports.participant.report import link_to_group
from migxai.reports.rendering import Table, render


def write_report(folder: GroupFolder) -> Path:
    """Write ``group/report.html`` and ``group/figures`` from what the group level left in its folder.

    Only ``description.json`` must be there: what else is missing is said to be. The same files give the same bytes.
    Reports of participants that lie in the output are linked, and get a link to this one. An InputError or ImageError
    says which file is damaged, or not what the report reads.
    """
    results = read_results(folder)
    maps = read_explained_maps(folder)
    assessed = {name: assess_results(results, name) for name in results.comparisons}
    checks = _checks(folder, results)
    simulated = results.simulated or any(one.simulated for one in maps)
    with drawing_style():
        gallery = Gallery(folder.file("figures"), simulated)
        drawn = {
            "people": people_section(results, gallery),
            "results": results_section(results, assessed, gallery),
            "maps": maps_section(results, maps, gallery),
        }
    gallery.remove_others()
    page = render(
        "group/report.html.jinja",
        title="migxai: group report",
        subtitle="; ".join(results.title(name) for name in results.comparisons),
        simulated=SIMULATED if simulated else "",
        summary=summary_section(results, assessed, checks, maps),
        checks=checks_table(checks),
        methods=methods_section(results, maps),
        **drawn,
    )
    path = folder.file("report.html")
    write_text(path, page)
    for report in sorted(folder.root.parent.glob("sub-*.html")):
        link_to_group(report)
    return path


def read_checks(folder: GroupFolder) -> list[Check]:
    """Return all checks of the results and of the maps, as the report shows them."""
    return _checks(folder, read_results(folder))


def _checks(folder: GroupFolder, results: Results) -> list[Check]:
    path = folder.file("audit.json")
    audited = checks_of_audit(read_json(path, folder.root)) if path.is_file() else []
    return check_results(results) + audited


@dataclass(frozen=True)
class Box:
    """A statement: its heading, a leading sentence, further points, and how it is meant."""

    title: str
    lead: str
    points: Sequence[str] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class SummarySection:
    """What was reached in each comparison, the verdict of the checks, and whether to trust the maps."""

    comparisons: Sequence[Box]
    checks: Box
    maps: Box


def summary_section(
    results: Results,
    assessed: Mapping[str, Sequence[AssessedResult]],
    checks: Sequence[Check],
    maps: Sequence[ExplainedMap],
) -> SummarySection:
    """Put the headlines into words."""
    comparisons = []
    for name, items in assessed.items():
        words, tone = HEADLINES[items[0].versus_chance if items else "unknown"]
        first, *others = verdict(results, name, items)
        title = f"{results.title(name)}: {words}"
        comparisons.append(Box(title, first, [*others, *_published(name)], tone))
    return SummarySection(comparisons, _checks_box(checks), _maps_box(maps))


def _published(comparison: str) -> list[str]:
    """Say what the paper prints as its best of this comparison."""
    cells = [(texts[0], model, indicator) for (model, indicator, name), texts in TABLE_2.items() if name == comparison]
    if not cells:
        return []
    text, model, indicator = max(cells, key=lambda cell: float(cell[0].split()[0]))
    return [
        f"The paper that this software follows prints {text.split()[0]} % for {model_name(model)} on "
        f"{indicator_name(indicator)}, its best. It does not say whether that is of people or of slices, and some "
        "of its numbers cannot belong together (see Results)."
    ]


def _checks_box(checks: Sequence[Check]) -> Box:
    failed = [one for one in checks if one.passed is False]
    counts = [sum(one.passed is state for one in checks) for state in (True, False, None)]
    return Box(
        "Checks failed" if failed else "No check failed",
        f"{plural(counts[0], 'check')} passed, {counts[1]} failed, {counts[2]} could not be made.",
        [f"{one.name}{f' ({one.of})' if one.of else ''}: {one.value}" for one in failed],
        "bad" if failed else "good",
    )


def _maps_box(maps: Sequence[ExplainedMap]) -> Box:
    if not maps:
        return Box("No maps", NO_MAPS)
    doubtful = sorted({f"{one.method}: {one.warning}" for one in maps if one.warning})
    text = f"The section Maps holds {plural(len(maps), 'map')}: where networks looked, and how the indicators differ."
    return Box("Some maps must not be trusted", text, doubtful, "bad") if doubtful else Box("Maps", text)


def checks_table(checks: Sequence[Check]) -> Table:
    """Lay out the checks, those that failed first."""
    tones: dict[bool | None, Tone] = {True: "good", False: "bad", None: ""}
    words = {True: "passed", False: "failed", None: "not made"}
    ordered = sorted(checks, key=lambda one: [False, None, True].index(one.passed))
    return Table(
        "Checks of the results and of the maps",
        ("Check", "Of", "Found", "Limit", "Verdict", "What it means"),
        [(one.name, one.of, one.value, one.limit, words[one.passed], one.detail) for one in ordered],
        style="checks",
        tones=[tones[one.passed] for one in ordered],
    )
