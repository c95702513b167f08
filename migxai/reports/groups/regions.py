"""The table of regions, sortable, its rows linked to the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from migxai.errors import InputError
from migxai.reports.groups.explained import ExplainedMap
from migxai.reports.groups.html import cell_text, folded


class Column(NamedTuple):
    """A column of the table: its heading, what it means, and how its numbers are written."""

    heading: str
    meaning: str
    form: str = ".3g"


#: Columns that are known, in the order they are shown; others follow under their own names.
COLUMNS: Mapping[str, Column] = {
    "region": Column("Region", "Name in the atlas", ""),
    "hemisphere": Column("Side", "Hemisphere of the peak", ""),
    "rank": Column("Rank", "Place by mean activation, 1 the highest", ".0f"),
    "mean": Column("Mean", "Mean of the map in the region"),
    "peak": Column("Peak", "Largest value in the region"),
    "top_share": Column("Top decile", "Share of the map's highest tenth of voxels that lies in the region", ".1%"),
    "agreement": Column("Agreement", "Share of folds and trials that agree", ".2f"),
    "p": Column("p", "Against models trained on permuted labels", ".3g"),
    "p_corrected": Column("p, corrected", "The same, corrected for the number of regions", ".3g"),
    "t": Column("t of the indicator", "Two-sample test of the indicator's regional mean, without a network", ".2f"),
    "t_p": Column("p of t", "Of that test", ".3g"),
    "t_p_corrected": Column("p of t, corrected", "Of that test, corrected for the number of regions", ".3g"),
    "paper": Column("Paper", "Reported by Li et al. 2025", ""),
}

#: What a table belongs to; a table is made for each of their combinations.
KEYS = ("comparison", "indicator", "model", "method", "map")
#: World mm of the peak.
PEAK = ("x", "y", "z")


def region_tables(
    regions: pd.DataFrame | None, maps: Sequence[ExplainedMap], headings: Mapping[tuple[str, str, str], str]
) -> str:
    """Write the tables of regions, one for each comparison, indicator and model.

    Parameters
    ----------
    regions
        A row a region: ``comparison``, ``indicator``, ``model``, ``region``, the peak's ``x``, ``y``, ``z`` (mm), and any
        of `COLUMNS`; ``map``, where it is there, names the image that the row is of.
    maps
        Those in the viewer, in its order.
    headings
        Of comparison, indicator and model, in words.

    Returns
    -------
    str
        HTML; empty without rows.

    Raises
    ------
    InputError
        If one of the needed columns is absent.
    """
    if regions is None or regions.empty:
        return ""
    needed = [name for name in ("comparison", "indicator", "model", "region") if name not in regions]
    if needed:
        raise InputError(f"group/regions.tsv has no column {needed[0]!r}; explain the models again.")
    keys = [name for name in KEYS if name in regions]
    parts = []
    for place, (values, rows) in enumerate(regions.groupby(keys, sort=False, dropna=False)):
        named = dict(zip(keys, map(str, values), strict=True))
        cell = (named["comparison"], named["indicator"], named["model"])
        heading = ", ".join([headings.get(cell, " ".join(cell)), *(named[key] for key in keys[3:4])])
        parts.append(folded(f"Regions: {heading}", _table(rows, _target(cell, named, maps), heading), shown=not place))
    return "".join(parts)


def _target(cell: tuple[str, str, str], named: Mapping[str, str], maps: Sequence[ExplainedMap]) -> int | None:
    """Return the place of the map that a table is of: the one it names, else the first of its cell."""
    places = [place for place, one in enumerate(maps) if one.cell == cell]
    wanted = PurePosixPath(named.get("map", "")).name
    exact = [place for place in places if wanted and maps[place].path.name.startswith(wanted)]
    return next(iter(exact or places), None)


def _table(rows: pd.DataFrame, target: int | None, caption: str) -> str:
    shown = [name for name in COLUMNS if name in rows]
    shown += [name for name in rows.columns if name not in (*shown, *KEYS, *PEAK, "index", "code")]
    if "rank" in shown:
        rows = rows.sort_values("rank", key=lambda column: pd.to_numeric(column, errors="coerce"), kind="stable")
    peak = all(name in rows for name in PEAK)
    heads = "".join(_head(COLUMNS.get(name, Column(str(name), ""))) for name in shown)
    heads += '<th scope="col" title="MNI mm: right, forward, up">Peak at</th>' if peak else ""
    body = []
    for row in rows.to_dict("records"):
        at = [float(row[name]) for name in PEAK] if peak else []
        first = escape(str(row["region"]))
        if target is not None and at and np.isfinite(at).all():
            place = ",".join(f"{mm:g}" for mm in at)
            first = f'<button type="button" class="jump" disabled data-map="{target}" data-at="{place}">{first}</button>'
        cells = "".join(f'<td class="number">{_written(name, row[name])}</td>' for name in shown[1:])
        where = ", ".join(f"{mm:.0f}" for mm in at) if at and np.isfinite(at).all() else "–"
        cells += f'<td class="number">{where}</td>' if peak else ""
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="wide tall" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="figures sortable">'
        f"<caption>{escape(caption, quote=False)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _head(column: Column) -> str:
    title = f' title="{escape(column.meaning)}"' if column.meaning else ""
    return f'<th scope="col"{title}>{escape(column.heading)}</th>'


def _written(name: str, value: object) -> str:
    """Write a cell in the form of its column; truth values as a mark that is also a word."""
    if isinstance(value, bool | np.bool_) or value in ("True", "False"):
        return "yes" if value in (True, "True") else "–"
    column = COLUMNS.get(name)
    if column is not None and column.form and isinstance(value, float | int):
        return "–" if value != value else f"{value:{column.form}}"
    return escape(cell_text(value), quote=False)
