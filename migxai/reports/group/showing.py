"""The section of maps: the viewer, pictures of every model's maps, tables of regions, misclassified people apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from migxai.evaluation.paper import paper_order
from migxai.evaluation.results import Results, indicator_name, model_name
from migxai.evaluation.wording import plural, slug
from migxai.reports.group.explained_maps import NO_MODEL, ExplainedMap, in_order
from migxai.reports.group.gallery import Gallery
from migxai.reports.group.html import bullets, folded, paragraph
from migxai.reports.group.map_figures import Shown, map_figure, prepare, strips_figure
from migxai.reports.group.regions import CellKey, RegionTable, check_regions, region_tables
from migxai.reports.group.summary import NO_MAPS
from migxai.reports.group.viewer import pack_map, pack_scene, script_data

#: Bytes that the viewer's maps may take in the page: some 150 maps of 3 mm.
ROOM = 4_500_000
#: Maps in one picture below each other; more are left to the viewer.
_STRIPS = 8

_READ = (
    "A map shows what moved a network's decision, not where the groups differ: a network may look anywhere that "
    "happens to help it, and maps of networks that do no better than chance show nothing but the network. The "
    "indicator's own difference (t statistic, without a network) stands beside them.",
    "Coloured is the tenth of the brain with the largest values, or what the map's own threshold leaves; the viewer "
    "shows more or less of it. The subject's left is on the left. The brain drawn is the template MNI152NLin2009cAsym.",
)


@dataclass(frozen=True)
class MapsSection:
    """The section, and what the viewer's script reads (empty without maps)."""

    content: str
    data: str = ""


def maps_section(results: Results, maps: Sequence[ExplainedMap], gallery: Gallery) -> MapsSection:
    """Draw the maps and pack them for the viewer.

    Raises
    ------
    ImageError
        If a map cannot be read.
    InputError
        If the table of regions is not as `regions.check_regions` wants it.
    OutputError, ResourceError
        If a figure cannot be written.
    """
    regions = check_regions(results.tables["regions.tsv"])
    if not maps:
        tables, _ = region_tables(regions, [])
        return MapsSection(paragraph(NO_MAPS) + _tables(tables))
    ordered = _in_order(results, maps)
    # Maps of single people may be thousands: those are read one by one, as long as the viewer has room.
    drawn = {one.path: prepare(one) for one in ordered if one.kind != "subject"}
    packed = _pack(results, ordered, drawn)
    tables, unshown = region_tables(regions, ordered[: len(packed)])
    left_out = len(ordered) - len(packed)
    notes = list(_READ)
    if left_out:
        notes.append(f"The viewer has room for {plural(len(packed), 'map')}; {left_out} more lie in group/explain.")
    if unshown:
        notes.append(f"{plural(unshown, 'table')} of regions more are in group/regions.tsv.")
    parts = [bullets(notes), _viewer()]
    for number, cell in enumerate(dict.fromkeys(one.cell for one in ordered)):
        mine = [(one, drawn[one.path]) for one in ordered if one.cell == cell and one.path in drawn]
        content = _pictures(cell, mine, gallery) + _tables([one for one in tables if one.cell == cell])
        if content:
            parts.append(folded(heading(results, cell), content, shown=number == 0))
    return MapsSection("".join(parts), script_data(pack_scene(str(results.description.get("Atlas", ""))), packed))


def heading(results: Results, cell: CellKey) -> str:
    """Name a cell of the maps in words: ``GoogLeNet on ReHo, HC versus migraine``."""
    comparison, indicator, model = cell
    name = indicator_name(indicator)
    what = f"{name} itself, without a network" if model in NO_MODEL else f"{model_name(model)} on {name}"
    return f"{what}, {results.title(comparison) if comparison in results.comparisons else comparison}"


def _in_order(results: Results, maps: Sequence[ExplainedMap]) -> list[ExplainedMap]:
    """Sort maps by kind, then as the results are, classes as the comparison has them."""
    comparisons = list(results.comparisons)

    def key(one: ExplainedMap) -> tuple[object, ...]:
        known = one.comparison in comparisons
        labels = results.comparisons[one.comparison] if known else []
        return (
            comparisons.index(one.comparison) if known else len(comparisons),
            paper_order(one.comparison, one.indicator, one.model)[1:],
            labels.index(one.label) if one.label in labels else len(labels),
        )

    return in_order(sorted(maps, key=key))


def _pack(results: Results, maps: Sequence[ExplainedMap], drawn: dict[Path, Shown]) -> list[dict[str, Any]]:
    """Pack as many maps as the viewer has room for, at least one."""
    packed: list[dict[str, Any]] = []
    room = ROOM
    for one in maps:
        shown = drawn[one.path] if one.path in drawn else prepare(one)
        packed.append(pack_map(one, shown, heading(results, one.cell)))
        room -= len(packed[-1]["volume"]["bytes"]) + 400
        if room < 0:
            break
    return packed


def _pictures(cell: CellKey, maps: Sequence[tuple[ExplainedMap, Shown]], gallery: Gallery) -> str:
    """Draw the maps of a cell: differences and tests large, classes below each other, misclassified people apart."""
    start = "_".join(slug(part) for part in cell if part not in NO_MODEL)
    parts = []
    for one, shown in maps:
        if one.kind in ("difference", "univariate"):
            figure, words = map_figure(one, shown)
            name = f"{start}_{one.kind}_{slug(one.method)}_{slug(one.label)}"
            parts.append(gallery.add(figure, name, title=one.title, words=words, inline="webp"))
    together = {
        "class": "Mean maps of people put into their own class",
        "misclassified": "Misclassified people, apart from the others",
        "agreement": "Agreement over folds and trials",
    }
    for kind, title in together.items():
        chosen = [(one, shown) for one, shown in maps if one.kind == kind]
        for first in range(0, len(chosen), _STRIPS):
            figure, words = strips_figure(chosen[first : first + _STRIPS])
            number = f"-{first // _STRIPS + 1}" if len(chosen) > _STRIPS else ""
            parts.append(gallery.add(figure, f"{start}_{kind}{number}", title=title, words=words, inline="webp"))
    return "".join(parts)


def _tables(tables: Sequence[RegionTable]) -> str:
    return "".join(paragraph(one.sentence) + folded(f"Regions: {one.contrast}", one.content) for one in tables)


def _viewer() -> str:
    folder = resources.files("migxai.data") / "reports"
    return (folder / "group_viewer.html").read_text(encoding="utf-8")
