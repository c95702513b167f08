"""The report of the group level: one HTML file that needs nothing else to be read, and its figures as files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from migxai.audit.checks import Check
from migxai.audit.runner import check_results, checks_of_audit
from migxai.audit.verdict import judge
from migxai.evaluation.group_folder import GroupFolder
from migxai.evaluation.results import Results, read_results
from migxai.io import read_json, write_text
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.explained_maps import read_explained_maps
from migxai.reports.group.gallery import SIMULATED, Gallery
from migxai.reports.group.methods import methods_section
from migxai.reports.group.outcome import outcome_section
from migxai.reports.group.showing import maps_section
from migxai.reports.group.summary import checks_section, people_section, summary_section
from migxai.reports.participant.report import link_to_group


def write_report(folder: GroupFolder) -> Path:
    """Write ``group/report.html`` and ``group/figures`` from what the group level left in its folder.

    Only ``description.json`` must be there: what else is missing is said to be. The same files give the same bytes.
    Reports of participants that lie in the output are linked, and get a link to this one.

    Parameters
    ----------
    folder
        The group level's.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    InputError, ImageError
        If a file is damaged, or not what the report reads.
    OutputError, ResourceError
        If a file cannot be written.
    """
    results = read_results(folder)
    maps = read_explained_maps(folder)
    judged = {name: judge(results, name) for name in results.comparisons}
    checks = _checks(folder, results)
    simulated = results.simulated or any(one.simulated for one in maps)
    with drawing_style():
        gallery = Gallery(folder.file("figures"), simulated)
        people = people_section(results, gallery)
        outcome = outcome_section(results, judged, gallery)
        shown = maps_section(results, maps, gallery)
    gallery.remove_others()
    sections = [
        ("summary", "Summary", summary_section(results, judged, checks, maps)),
        ("people", "Who is in", people),
        ("results", "Results", outcome),
        ("maps", "Maps", shown.content),
        ("checks", "Checks", checks_section(checks)),
        ("methods", "Methods and limits", methods_section(results, maps)),
    ]
    path = folder.file("report.html")
    write_text(path, _page(results, sections, shown.data, SIMULATED if simulated else ""))
    for report in sorted(folder.root.parent.glob("sub-*.html")):
        link_to_group(report)
    return path


def read_checks(folder: GroupFolder) -> list[Check]:
    """Return all checks of the results and of the maps, as the report shows them.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    return _checks(folder, read_results(folder))


def _checks(folder: GroupFolder, results: Results) -> list[Check]:
    path = folder.file("audit.json")
    audited = checks_of_audit(read_json(path, folder.root)) if path.is_file() else []
    return check_results(results) + audited


def _page(results: Results, sections: list[tuple[str, str, str]], data: str, simulated: str) -> str:
    from jinja2 import Environment

    templates = resources.files("migxai.data") / "reports"
    texts = {
        name: (templates / f"group_{name}").read_text(encoding="utf-8") for name in ("page.html.jinja", "page.css")
    }
    scripts = ["group_tables.js", *(["group_viewer.js"] if data else [])]
    page = Environment(autoescape=True, keep_trailing_newline=True, trim_blocks=True).from_string(
        texts["page.html.jinja"]
    )
    return page.render(
        title="migxai: group report",
        subtitle="; ".join(results.title(name) for name in results.comparisons),
        simulated=simulated,
        sections=sections,
        style=texts["page.css"],
        data=data,
        scripts=[(templates / name).read_text(encoding="utf-8") for name in scripts],
    )
