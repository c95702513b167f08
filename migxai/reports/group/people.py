"""Who is in: the flow of exclusions, classes by site, the paper's Table 1, and everybody."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from migxai.evaluation.formatting import cell_text, plural
from migxai.evaluation.paper import GROUPS
from migxai.evaluation.results import Results
from migxai.reports.figures.drawing import BLUE, GREEN, GREY, INK, RED, new_figure
from migxai.reports.group.gallery import Drawn, Gallery, Picture
from migxai.reports.rendering import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class PeopleSection:
    """What the section shows; what there is nothing of is None or empty."""

    flow: Picture | None
    classes: Sequence[Table]
    table_1: Table | None
    notes: Sequence[str]
    everybody: Table | None
    about_reports: str


def people_section(results: Results, gallery: Gallery) -> PeopleSection:
    """Gather who is in, and draw the flow of exclusions."""
    flow = gallery.add_if_drawn(flow_figure(results), "flow", "Who was found, left out and compared")
    table_1, notes = _table_1(results)
    everybody = _everybody(results)
    reports = sum(bool(link) for link in everybody.links) if everybody else 0
    return PeopleSection(
        flow=flow,
        classes=[_classes_table(results, name) for name in results.comparisons],
        table_1=table_1,
        notes=notes,
        everybody=everybody,
        about_reports=f"{plural(reports, 'participant')} with a report of their own."
        if reports
        else "No participant reports here.",
    )


def _classes_table(results: Results, comparison: str) -> Table:
    caption = f"People by class and site: {results.title(comparison)}"
    classes = results.tables["classes.tsv"]
    if classes.empty:
        return Table(caption, (), ())
    rows = classes[classes["comparison"] == comparison].drop(columns="comparison")
    named = {"class": "Class", "smallest_test": "Smallest test fold", "smallest_train": "Smallest training fold"}
    return Table.of_frame(rows.rename(columns=named), caption)


def _table_1(results: Results) -> tuple[Table | None, list[str]]:
    """Lay out Table 1: our groups, the paper's beside them where the groups are its own, and tests; and its notes."""
    frame = results.tables["table1.tsv"]
    if frame.empty:
        return None, []
    theirs = [name for name in frame if str(name).endswith(", paper")]
    ours = [name for name in frame if name not in theirs and name != "Note"]
    named = set(GROUPS) <= set(ours)
    caption = "Table 1. The cohort: median (quartiles) or number (%)" + ("; beside it the paper's" if named else "")
    notes = [str(note) for note in dict.fromkeys(frame["Note"]) if note not in ("", "n/a")] if "Note" in frame else []
    return Table.of_frame(frame[[*ours, *(theirs if named else [])]], caption), notes


def _everybody(results: Results) -> Table | None:
    people = results.people
    if people.empty:
        return None
    columns = [name for name in ("group", "site", "age", "sex", "mean_fd", "coverage", "reason") if name in people]
    rows = [
        (
            str(person["participant_id"]),
            str(person["dataset"]),
            "in" if person["included"] == "yes" else "left out",
            *(_short(person[column]) for column in columns),
        )
        for person in people.to_dict("records")
    ]
    return Table(
        "Everybody whom the datasets name",
        ["Participant", "Dataset", "State", *columns],
        rows,
        style="sortable",
        links=[results.participant_report(str(key)) for key in people["key"]],
    )


def _short(value: object) -> str:
    text = cell_text(value)
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def reasons(results: Results) -> list[tuple[str, int]]:
    """Count why people are left out; reasons that differ in their numbers alone are one."""
    people = results.people
    if people.empty:
        return []
    texts = people.loc[people["included"] != "yes", "reason"].astype(str)
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", text), []).append(text)
    merged = [(_merge(found), len(found)) for found in alike.values()]
    return sorted(merged, key=lambda one: (-one[1], one[0]))


def _merge(texts: Sequence[str]) -> str:
    """Write sentences that differ in numbers as one, with ranges in place of the numbers that differ."""
    numbers = [re.findall(r"\d+(?:\.\d+)?", text) for text in texts]
    spans = []
    for column in zip(*numbers, strict=True):
        low, high = min(column, key=float), max(column, key=float)
        spans.append(low if low == high else f"{low} to {high}")
    parts = iter(spans)
    return re.sub(r"\d+(?:\.\d+)?", lambda _: next(parts), texts[0])


def flow_figure(results: Results) -> Drawn | None:
    """Draw who was found, who is left out and why, and who is compared; None without a table of the cohort."""
    people = results.people
    if people.empty:
        return None
    included, left = int((people["included"] == "yes").sum()), reasons(results)
    out = len(people) - included
    why = [f"{count}: {text}" for text, count in left] or ["nobody"]
    wrapped = [line for text in why for line in textwrap.wrap(text, 62, subsequent_indent="   ")]
    compared = []
    for name in results.comparisons:
        counts = results.class_counts(name)
        classes = ", ".join(f"{n} {label}" for label, n in counts.items())
        compared.append(f"{results.title(name)}\n{sum(counts.values())}: {classes}")
    height = 2.6 + 0.17 * len(wrapped)
    figure = new_figure(height)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, height)
    middle, stem = 1.55 + 0.085 * len(wrapped), 1.9
    found = "in 1 dataset" if people["dataset"].nunique() == 1 else f"in {people['dataset'].nunique()} datasets"
    _box(axes, stem, height - 0.4, f"{plural(len(people), 'person', 'people')} {found}", bold=True)
    _box(axes, 3.6, middle, f"{out} left out\n" + "\n".join(wrapped), colour=RED if out else GREY, align="left")
    _box(axes, stem, 1.25, f"{plural(included, 'person', 'people')} in the analysis", bold=True, colour=GREEN)
    _arrow(axes, (stem, height - 0.65), (stem, 1.45))
    _arrow(axes, (stem, middle), (3.5, middle))
    places = [stem] if len(compared) == 1 else np.linspace(stem - 0.2, 8.3, len(compared))
    for x, text in zip(places, compared, strict=True):
        _arrow(axes, (stem, 1.05), (float(x), 0.55))
        _box(axes, float(x), 0.3, text, colour=BLUE)
    words = (
        f"Flow of people: {len(people)} found, {out} left out ({'; '.join(why)}), {included} in the analysis. "
        f"Compared: {'; '.join(text.replace(chr(10), ', ') for text in compared)}."
    )
    return figure, words


def _box(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    bold: bool = False,
    colour: str = GREY,
    align: Literal["center", "left"] = "center",
) -> None:
    shape = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 1.2}
    written = axes.text(x, y, text, ha=align, va="center", color=INK, fontsize=9, linespacing=1.35, bbox=shape)
    written.set(weight="bold" if bold else "normal", zorder=3, multialignment=align)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.0}, zorder=1)
