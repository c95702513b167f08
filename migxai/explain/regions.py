"""A map in the brain, by region of an atlas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import AtlasError

if TYPE_CHECKING:
    import pandas as pd

#: How the names of the regions begin that the paper reports: cuneus, precuneus and the frontal gyri.
PAPER = ("Cuneus", "Precuneus", "Frontal_")
#: A region's values count where at least this many of its voxels lie in slices.
LEAST_VOXELS = 5


def mean_by_region(row: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], indices: tuple[int, ...]) -> Any:
    """Average values over regions.

    Parameters
    ----------
    row
        (..., V).
    labels
        Region of each voxel, 0 for none, (V,).
    indices
        Labels of the R regions wanted.

    Returns
    -------
    numpy.ndarray
        (..., R), NaN where fewer than `LEAST_VOXELS` voxels are shown.
    """
    member = labels[:, None] == np.asarray(indices)
    counts = member.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.asarray(row, dtype=np.float64) @ member / counts
    return np.where(counts >= LEAST_VOXELS, means, np.nan)


def region_table(
    row: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    names: dict[int, str],
    positions: NDArray[np.floating[Any]],
    *,
    by: NDArray[np.float64] | None = None,
    two_sided: bool = False,
) -> pd.DataFrame:
    """Describe a map by region.

    Parameters
    ----------
    row
        The map's value at each voxel, (V,).
    labels
        Region of each voxel, 0 for none, (V,).
    names
        The names of the regions, by label.
    positions
        MNI coordinates of the voxels, mm, (V, 3).
    by
        What regions are ranked by, in the order of `names`, (R,); by default their mean.
    two_sided
        Whether values below zero mean as much as those above; the rank is then by absolute value.

    Returns
    -------
    pandas.DataFrame
        One row a region in the order of `names`: index, region, hemisphere (of the peak: ``left``, ``right`` or
        ``middle``), n_voxels, mean, peak (of the largest value) with peak_x, peak_y, peak_z, rank (1 is the
        highest), top_decile (share of the map's highest tenth of voxels that lies in the region), and whether the
        paper reports it. Regions that slices hardly show have no values.

    Raises
    ------
    AtlasError
        If no region lies in the map.
    """
    import pandas as pd

    indices = tuple(names)
    if not np.isin(labels, indices).any():
        raise AtlasError("No region of the atlas lies where the slices show brain; check the atlas and the slices.")
    ranked = np.abs(row) if two_sided else np.asarray(row)
    top = ranked >= np.quantile(ranked, 0.9)
    rows: list[dict[str, Any]] = []
    for index, mean in zip(indices, mean_by_region(row, labels, indices).tolist(), strict=True):
        inside = np.flatnonzero(labels == index)
        line: dict[str, Any] = {"index": index, "region": names[index], "n_voxels": len(inside), "mean": mean}
        if np.isfinite(mean):
            peak = inside[np.argmax(ranked[inside])]
            x, y, z = (round(float(mm), 1) for mm in positions[peak])
            line |= {
                "hemisphere": "left" if x < 0 else "right" if x > 0 else "middle",
                "peak": float(row[peak]),
                "peak_x": x,
                "peak_y": y,
                "peak_z": z,
                "top_decile": float(top[inside].sum() / top.sum()),
            }
        rows.append(line | {"paper": names[index].startswith(PAPER)})
    columns = ("index", "region", "hemisphere", "n_voxels", "mean", "peak", "peak_x", "peak_y", "peak_z")
    table = pd.DataFrame(rows).reindex(columns=[*columns, "top_decile", "paper"])
    ordered = table["mean"] if by is None else pd.Series(by)
    ordered = ordered.abs() if two_sided else ordered
    table.insert(5, "rank", ordered.rank(ascending=False, method="min").astype("Int64"))
    return table
