"""The report of the group level: one HTML file that needs nothing else to be read, and its figures as files."""

from __future__ import annotations

from pathlib import Path

from migxai.audit.checks import Check
from migxai.audit.runner import check_results, checks_of_audit
from migxai.audit.verdict import assess_results
from migxai.evaluation.group_folder import GroupFolder
from migxai.evaluation.results import Results, read_results
from migxai.io import read_json, write_text
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.explained_maps import read_explained_maps
from migxai.reports.group.gallery import SIMULATED, Gallery
from migxai.reports.group.maps import maps_section
from migxai.reports.group.methods import methods_section
from migxai.reports.group.people import people_section
from migxai.reports.group.results import results_section
from migxai.reports.group.summary import checks_table, summary_section
from migxai.reports.participant.report import link_to_group
from migxai.reports.rendering import render


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
