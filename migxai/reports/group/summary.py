"""What the report says before any picture: what came out, whether the checks hold, and who is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from migxai.audit.checks import Check
from migxai.audit.verdict import WORDS, Judged, verdict
from migxai.evaluation.paper import GROUPS, TABLE_2
from migxai.evaluation.results import Results, indicator_name, model_name
from migxai.evaluation.wording import Tone, cell_text, plural
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.gallery import Gallery
from migxai.reports.group.html import box, bullets, folded, frame_table, linked_table, paragraph, table
from migxai.reports.group.overview import flow_figure

#: Said at the top of every report.
PURPOSE = (
    "This is the result of research on groups. It is not a diagnostic device: nothing here may be used to diagnose or "
    "treat a person."
)
NO_MAPS = (
    "No maps were made: the output holds none that says what it is (group/explain). Where the networks looked is not "
    "known."
)


def summary_section(
    results: Results,
    judged: Mapping[str, Sequence[Judged]],
    checks: Sequence[Check],
    maps: Sequence[ExplainedMap],
) -> str:
    """Write the headline: what was reached and what it means, the verdict of the checks, whether to trust the maps."""
    parts = []
    for name, items in judged.items():
        words, tone = WORDS[items[0].standing if items else "unknown"]
        first, *others = verdict(results, name, items)
        others += _published(name)
        parts.append(box(f"{results.title(name)}: {words}", paragraph(first) + bullets(others), tone))
    parts += [_checks_box(checks), _maps_box(maps), paragraph(PURPOSE, "purpose")]
    return "".join(parts)


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


def _checks_box(checks: Sequence[Check]) -> str:
    failed = [one for one in checks if one.passed is False]
    counts = [sum(one.passed is state for one in checks) for state in (True, False, None)]
    text = f"{plural(counts[0], 'check')} passed, {counts[1]} failed, {counts[2]} could not be made."
    tone: Tone = "bad" if failed else "good"
    names = [f"{one.name}{f' ({one.of})' if one.of else ''}: {one.value}" for one in failed]
    link = '<p><a href="#checks">All checks, with numbers and limits</a></p>'
    return box("Checks failed" if failed else "No check failed", paragraph(text) + bullets(names) + link, tone)


def _maps_box(maps: Sequence[ExplainedMap]) -> str:
    if not maps:
        return box("No maps", paragraph(NO_MAPS))
    doubtful = sorted({f"{one.method}: {one.warning}" for one in maps if one.warning})
    text = f"The section Maps holds {plural(len(maps), 'map')}: where networks looked, and how the indicators differ."
    if not doubtful:
        return box("Maps", paragraph(text))
    return box("Some maps must not be trusted", paragraph(text) + bullets(doubtful), "bad")


def checks_section(checks: Sequence[Check]) -> str:
    """Write the table of checks, those that failed first."""
    tones: dict[bool | None, Tone] = {True: "good", False: "bad", None: ""}
    words = {True: "passed", False: "failed", None: "not made"}
    order = [False, None, True]
    ordered = sorted(checks, key=lambda one: order.index(one.passed))
    rows = [(one.name, one.of, one.value, one.limit, words[one.passed], one.detail) for one in ordered]
    heads = ("Check", "Of", "Found", "Limit", "Verdict", "What it means")
    marked = {place: tones[one.passed] for place, one in enumerate(ordered)}
    return table(rows, heads, caption="Checks of the results and of the maps", css="checks", marked=marked)


def people_section(results: Results, gallery: Gallery) -> str:
    """Write who is in: the flow of exclusions, classes by site, the paper's Table 1, and everybody."""
    parts = []
    found = flow_figure(results)
    if found is not None:
        parts.append(gallery.add(found[0], "flow", title="Who was found, left out and compared", words=found[1]))
    else:
        parts.append(paragraph("The output holds no table of the cohort (group/cohort.tsv)."))
    parts += [_classes_table(results, name) for name in results.comparisons]
    return "".join([*parts, _table_1(results), _everybody(results)])


def _classes_table(results: Results, comparison: str) -> str:
    classes = results.tables["classes.tsv"]
    if classes.empty:
        return ""
    rows = classes[classes["comparison"] == comparison].drop(columns="comparison")
    named = {"class": "Class", "smallest_test": "Smallest test fold", "smallest_train": "Smallest training fold"}
    return frame_table(rows.rename(columns=named), caption=f"People by class and site: {results.title(comparison)}")


def _table_1(results: Results) -> str:
    """Lay out Table 1: our groups, the paper's beside them where the groups are its own, tests, and notes below."""
    frame = results.tables["table1.tsv"]
    if frame.empty:
        return ""
    theirs = [name for name in frame if str(name).endswith(", paper")]
    ours = [name for name in frame if name not in theirs and name != "Note"]
    named = set(GROUPS) <= set(ours)
    caption = "Table 1. The cohort: median (quartiles) or number (%)" + ("; beside it the paper's" if named else "")
    notes = [note for note in dict.fromkeys(frame["Note"]) if note not in ("", "n/a")] if "Note" in frame else []
    return frame_table(frame[[*ours, *(theirs if named else [])]], caption=caption) + bullets(notes)


def _everybody(results: Results) -> str:
    people = results.people
    if people.empty:
        return ""
    columns = [name for name in ("group", "site", "age", "sex", "mean_fd", "coverage", "reason") if name in people]
    rows = []
    for person in people.to_dict("records"):
        name = escape(str(person["participant_id"]), quote=False)
        address = results.participant_report(str(person["key"]))
        state = "in" if person["included"] == "yes" else "left out"
        cells = [_short(person[column]) for column in columns]
        rows.append(
            [f'<a href="{escape(address)}">{name}</a>' if address else name, str(person["dataset"]), state, *cells]
        )
    heads = ["Participant", "Dataset", "State", *columns]
    reports = sum(row[0].startswith("<a") for row in rows)
    note = (
        f"{plural(reports, 'participant')} with a report of their own." if reports else "No participant reports here."
    )
    content = paragraph(note, "about") + linked_table(rows, heads, caption="Everybody whom the datasets name")
    return folded(f"All {len(rows)} people, and their reports", content)


def _short(value: object) -> str:
    text = cell_text(value)
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text
