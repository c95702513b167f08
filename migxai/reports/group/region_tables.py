"""The tables of regions, sortable, their rows linked to the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from migxai.errors import InputError
from migxai.evaluation.wording import cell_text, listed
from migxai.reports.group.explained_maps import ExplainedMap

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
ROOM = 2_500_000
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

    Raises
    ------
    InputError
        If a needed column is absent, or a number is none.
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
    regions: pd.DataFrame, maps: Sequence[ExplainedMap], room: int = ROOM
) -> tuple[list[RegionTable], int]:
    """Make a table for each comparison, indicator, model, method and contrast, differences of classes first.

    Parameters
    ----------
    regions
        From `check_regions`.
    maps
        Those in the viewer, in its order.
    room
        Bytes that tables may take in all.

    Returns
    -------
    tables, left_out
        Tables, and how many more there would be.
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
