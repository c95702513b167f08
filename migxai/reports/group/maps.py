"""The section of maps: the viewer, pictures of every model's maps, tables of regions, misclassified people apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migxai.evaluation.paper import paper_order
from migxai.evaluation.results import Results, indicator_name, model_name
from migxai.evaluation.wording import plural, slug
from migxai.reports.group.explained_maps import NO_MODEL, ExplainedMap, in_order
from migxai.reports.group.gallery import Gallery, Picture
from migxai.reports.group.map_figures import PreparedMap, map_figure, prepare, strips_figure
from migxai.reports.group.region_tables import MapKey, RegionTable, check_regions, region_tables
from migxai.reports.group.summary import NO_MAPS
from migxai.reports.group.viewer import pack_map, pack_scene, script_data

#: Bytes that the viewer's maps may take in the page: some 150 maps of 3 mm.
ROOM = 4_500_000
#: Maps in one picture below each other; more are left to the viewer.
_STRIPS = 8


@dataclass(frozen=True)
class MapGroup:
    """Maps of one comparison, indicator and model: their heading, pictures and tables of regions."""

    heading: str
    pictures: Sequence[Picture]
    tables: Sequence[RegionTable]


@dataclass(frozen=True)
class MapsSection:
    """What the section shows.

    Attributes
    ----------
    groups
        None without maps.
    notes
        What is left out, a sentence each.
    tables
        Those of regions, where there are no maps to stand beside.
    viewer_data
        What the viewer's script reads; empty without maps.
    none
        What is said where there are no maps.
    """

    groups: Sequence[MapGroup] = ()
    notes: Sequence[str] = ()
    tables: Sequence[RegionTable] = ()
    viewer_data: str = ""
    none: str = NO_MAPS


def maps_section(results: Results, maps: Sequence[ExplainedMap], gallery: Gallery) -> MapsSection:
    """Draw the maps and pack them for the viewer.

    Raises
    ------
    ImageError
        If a map cannot be read.
    InputError
        If the table of regions is not as `region_tables.check_regions` wants it.
    OutputError, ResourceError
        If a figure cannot be written.
    """
    regions = check_regions(results.tables["regions.tsv"])
    if not maps:
        return MapsSection(tables=region_tables(regions, [])[0])
    ordered = _in_order(results, maps)
    # Maps of single people may be thousands: those are read one by one, as long as the viewer has room.
    drawn = {one.path: prepare(one) for one in ordered if one.kind != "subject"}
    packed = _pack(results, ordered, drawn)
    tables, unshown = region_tables(regions, ordered[: len(packed)])
    left_out = len(ordered) - len(packed)
    notes = []
    if left_out:
        notes.append(f"The viewer has room for {plural(len(packed), 'map')}; {left_out} more lie in group/explain.")
    if unshown:
        notes.append(f"{plural(unshown, 'table')} of regions more are in group/regions.tsv.")
    groups = []
    for key in dict.fromkeys(one.cell for one in ordered):
        mine = [(one, drawn[one.path]) for one in ordered if one.cell == key and one.path in drawn]
        pictures, beside = _pictures(key, mine, gallery), [one for one in tables if one.key == key]
        if pictures or beside:
            groups.append(MapGroup(heading(results, key), pictures, beside))
    scene = pack_scene(str(results.description.get("Atlas", "")))
    return MapsSection(groups, notes, viewer_data=script_data(scene, packed))


def heading(results: Results, key: MapKey) -> str:
    """Name a group of maps in words: ``GoogLeNet on ReHo, HC versus migraine``."""
    comparison, indicator, model = key
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


def _pack(results: Results, maps: Sequence[ExplainedMap], drawn: dict[Path, PreparedMap]) -> list[dict[str, Any]]:
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


def _pictures(key: MapKey, maps: Sequence[tuple[ExplainedMap, PreparedMap]], gallery: Gallery) -> list[Picture]:
    """Draw the maps of a group: differences and tests large, classes below each other, misclassified people apart."""
    start = "_".join(slug(part) for part in key if part not in NO_MODEL)
    pictures = []
    for one, shown in maps:
        if one.kind in ("difference", "univariate"):
            name = f"{start}_{one.kind}_{slug(one.method)}_{slug(one.label)}"
            pictures.append(gallery.add(map_figure(one, shown), name, one.title, inline="webp"))
    together = {
        "class": "Mean maps of people put into their own class",
        "misclassified": "Misclassified people, apart from the others",
        "agreement": "Agreement over folds and trials",
    }
    for kind, title in together.items():
        chosen = [(one, shown) for one, shown in maps if one.kind == kind]
        for first in range(0, len(chosen), _STRIPS):
            drawn = strips_figure(chosen[first : first + _STRIPS])
            number = f"-{first // _STRIPS + 1}" if len(chosen) > _STRIPS else ""
            pictures.append(gallery.add(drawn, f"{start}_{kind}{number}", title, inline="webp"))
    return pictures
