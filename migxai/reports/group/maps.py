"""The section of maps: the viewer, pictures of every model's maps, and sortable tables of regions linked to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from migxai.errors import InputError
from migxai.evaluation.formatting import cell_text, listed, plural, slug
from migxai.evaluation.paper import paper_order
from migxai.evaluation.results import Results, indicator_name, model_name
from migxai.reports.group.explained_maps import NO_MAPS, NO_MODEL, ExplainedMap, in_order
from migxai.reports.group.gallery import Gallery, Picture
from migxai.reports.group.map_figures import (
    PreparedMap,
    map_figure,
    pack_map,
    pack_scene,
    prepare,
    script_data,
    strips_figure,
)

#: Of what a map or a table is: comparison, indicator and model.
MapKey = tuple[str, str, str]


class Column(NamedTuple):
    """A column of the table: its heading, what it means, and how its numbers are written."""

    heading: str
    meaning: str
    form: str = ".3g"


#: Columns in the order they are shown.
COLUMNS: Mapping[str, Column] = {
    "region": Column("Region", "Name in the atlas; a press shows its peak in the viewer", ""),
    "rank": Column("Rank", "Place by t of the map, 1 the largest", ".0f"),
    "map_t": Column("t, map", "Difference between the classes' people in the region, by how far people differ", ".2f"),
    "mean": Column("Mean", "Mean of the map in the region"),
    "peak": Column("Peak", "Largest value in the region"),
    "top_decile": Column("Top decile", "Share of the map's highest tenth of voxels that lies in the region", ".1%"),
    "fold_agreement": Column("Folds agree", "Share of folds and trials in which the mean has this sign", ".0%"),
    "p_permuted": Column("p, permuted", "Against models trained on permuted labels"),
    "p_permuted_fwe": Column("p, all regions", "The same, against the largest of all regions (family-wise error)"),
    "t": Column("t, indicator", "Two-sample test of the indicator's regional mean, without a network", ".2f"),
    "p": Column("p of t", "Of that test"),
    "p_fdr": Column("p of t, FDR", "Of that test, corrected for the number of regions (false discovery rate)"),
    "n_voxels": Column("Voxels", "Of the map in the region", ".0f"),
    "paper": Column("Paper", "Reported by Li et al. 2025: cuneus, precuneus and frontal gyri", ""),
}
_AT = Column("Peak at", "MNI mm: right, forward, up")
_PEAK = ("peak_x", "peak_y", "peak_z")
_NEEDED = ("comparison", "indicator", "model", "method", "contrast", "region", "mean", "map_t", "rank", *_PEAK)
_TEXT = {"comparison", "indicator", "model", "method", "contrast", "region", "hemisphere", "paper"}

#: Bytes of tables in the page; those of single classes are left to the file where there is no room.
TABLES_ROOM = 2_500_000
#: Bytes of the tags of a row, and of each of its cells.
_ROW, _CELL = 110, 4


class RegionRow(NamedTuple):
    """A region: the viewer's map that shows it (None if none does), its peak there, its name, and the other cells."""

    target: int | None
    at: str
    region: str
    cells: Sequence[str]


@dataclass(frozen=True)
class RegionTable:
    """A table of one map's regions: what it is of, what it says in a sentence, and its columns and rows."""

    key: MapKey
    contrast: str
    sentence: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[RegionRow]

    @property
    def size(self) -> int:
        """About as many bytes as it takes in the page."""
        return sum(_ROW + len(row.region) + sum(_CELL + len(cell) for cell in row.cells) for row in self.rows)


def check_regions(regions: pd.DataFrame) -> pd.DataFrame:
    """Check the columns of ``group/regions.tsv`` and turn its numbers into numbers.

    An InputError names a needed column that is absent, or a number that is none.
    """
    if regions.empty:
        return regions
    missing = [name for name in _NEEDED if name not in regions]
    if missing:
        raise InputError(f"group/regions.tsv has no column {missing[0]!r}; explain the models again.")
    numbers = {}
    for name in regions.columns.difference(list(_TEXT)):
        numbers[name] = pd.to_numeric(regions[name].replace(["n/a", ""], None), errors="coerce")
        broken = numbers[name].isna() & ~regions[name].isin(["n/a", ""])
        if broken.any():
            value = regions[name][broken].iloc[0]
            raise InputError(f"group/regions.tsv: {name} {value!r} is no number; explain the models again.")
    return regions.assign(**numbers)


def region_tables(
    regions: pd.DataFrame, maps: Sequence[ExplainedMap], room: int = TABLES_ROOM
) -> tuple[list[RegionTable], int]:
    """Make a table for each comparison, indicator, model, method and contrast, differences of classes first.

    `maps` are those in the viewer, in its order. Returned are the tables that `room` bytes hold, and how many more
    there would be.
    """
    if regions.empty:
        return [], 0
    groups = list(regions.groupby(["comparison", "indicator", "model", "method", "contrast"], sort=False))
    groups.sort(key=lambda group: " - " not in str(group[0][4]))
    tables: list[RegionTable] = []
    for place, (values, rows) in enumerate(groups):
        target = next((n for n, one in enumerate(maps) if (*one.cell, one.method, one.label) == values), None)
        table = _table(tuple(map(str, values)), rows.sort_values("rank", kind="stable"), target)
        room -= table.size
        if room < 0 and tables:
            return tables, len(groups) - place
        tables.append(table)
    return tables, 0


def _table(values: tuple[str, ...], rows: pd.DataFrame, target: int | None) -> RegionTable:
    comparison, indicator, model, method, contrast = values
    shown = [name for name in COLUMNS if name in rows and name != "region"]
    shown = [name for name in shown if name == "paper" or rows[name].notna().any()]
    return RegionTable(
        key=(comparison, indicator, model),
        contrast=contrast,
        sentence=_sentence(rows, f"{method}, {contrast}"),
        caption=f"Regions: {method}, {contrast}",
        columns=[*(COLUMNS[name] for name in ("region", *shown)), _AT],
        rows=[_row(row, shown, target) for row in rows.to_dict("records")],
    )


def _row(row: Mapping[Any, Any], shown: Sequence[str], target: int | None) -> RegionRow:
    at = [float(row[name]) for name in _PEAK]
    known = all(mm == mm for mm in at)
    where = ", ".join(f"{mm:.0f}" for mm in at) if known else "–"
    cells = [*(_written(name, row[name]) for name in shown), where]
    return RegionRow(target if known else None, ",".join(f"{mm:g}" for mm in at), str(row["region"]), cells)


def _sentence(rows: pd.DataFrame, what: str) -> str:
    """Say which regions come first, and whether the indicator itself differs there."""
    top = rows.head(10)
    names = listed([f"{region} ({t:.2g})" for region, t in zip(top["region"][:5], top["map_t"][:5], strict=True)])
    text = f"{what}: the largest t are those of {names}."
    if "p_fdr" not in rows or rows["p_fdr"].isna().all():
        return text
    differ = int((top["p_fdr"] < 0.05).sum())
    return (
        f"{text} Of its ten highest regions, {differ or 'none'} {'differ' if differ > 1 else 'differs'} between the "
        "groups in the indicator itself (two-sample test, false discovery rate under 5 %)."
    )


def _written(name: str, value: object) -> str:
    """Write a cell in the form of its column; truth values as a word."""
    if name == "paper":
        return "yes" if str(value).lower() == "true" else "–"
    if isinstance(value, float | int) and value == value:
        return f"{value:{COLUMNS[name].form}}"
    return cell_text(value)


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

    Notes say what is left out. Tables of regions stand here where there are no maps to stand beside, and `none` says
    that there are none. `viewer_data` is read by the viewer's script.
    """

    groups: Sequence[MapGroup] = ()
    notes: Sequence[str] = ()
    tables: Sequence[RegionTable] = ()
    viewer_data: str = ""
    none: str = NO_MAPS


def maps_section(results: Results, maps: Sequence[ExplainedMap], gallery: Gallery) -> MapsSection:
    """Draw the maps and pack them for the viewer; errors say which map or table cannot be read."""
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
