"""Read fMRIPrep's confounds tables of any version under one set of names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from migxai.errors import InputError
from migxai.io import read_tsv

if TYPE_CHECKING:
    import pandas as pd

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")

#: Names of fMRIPrep before 1.2, and what they are called since.
_OLD_NAMES = {
    "X": "trans_x",
    "Y": "trans_y",
    "Z": "trans_z",
    "RotX": "rot_x",
    "RotY": "rot_y",
    "RotZ": "rot_z",
    "WhiteMatter": "white_matter",
    "CSF": "csf",
    "GlobalSignal": "global_signal",
    "FramewiseDisplacement": "framewise_displacement",
    "stdDVARS": "std_dvars",
    "non-stdDVARS": "dvars",
    "RMSD": "rmsd",
}
_NON_STEADY = re.compile(r"non_?steady_?state_?outlier_?(\d+)", re.IGNORECASE)


def read_confounds(path: Path) -> pd.DataFrame:
    """Read a confounds table of fMRIPrep, old or new.

    Parameters
    ----------
    path
        ``_desc-confounds_timeseries.tsv`` or, of older versions, ``_desc-confounds_regressors.tsv``.

    Returns
    -------
    pandas.DataFrame
        A row for each volume, float64, NaN for ``n/a``; columns under today's names (``trans_x`` to ``rot_z`` in mm
        and radians, ``white_matter``, ``csf``, ``global_signal``, ``framewise_displacement``, ``dvars``,
        ``std_dvars``, ``rmsd``, ``non_steady_state_outlier00``...), others as they are.

    Raises
    ------
    InputError
        If it cannot be read, has no row, lacks a motion parameter, or holds text where numbers belong.
    """
    table = read_tsv(path).rename(columns=_canonical)
    if table.empty:
        raise InputError(f"{path.name} has no row; run fMRIPrep again for this run.")
    missing = [name for name in MOTION if name not in table]
    if missing:
        raise InputError(f"{path.name} lacks the motion parameters {', '.join(missing)}.")
    if table.columns.duplicated().any():
        raise InputError(f"{path.name} has the column {table.columns[table.columns.duplicated()][0]} twice.")
    try:
        return table.mask(table.isin(["n/a", "nan", "NaN", ""])).astype("float64")
    except (ValueError, TypeError) as error:
        raise InputError(f"{path.name} holds text where numbers belong: {error}.") from error


def _canonical(name: str) -> str:
    match = _NON_STEADY.fullmatch(name)
    if match:
        return f"non_steady_state_outlier{int(match[1]):02d}"
    return _OLD_NAMES.get(name, name)


def count_non_steady_state(confounds: pd.DataFrame) -> int:
    """Count the volumes at the start that fMRIPrep found outside the steady state.

    Parameters
    ----------
    confounds
        As `read_confounds` returns it.

    Returns
    -------
    int
        One more than the last volume so marked; 0 if none is.
    """
    import numpy as np

    columns = [name for name in confounds if _NON_STEADY.fullmatch(str(name))]
    volumes = np.flatnonzero((confounds[columns].to_numpy(dtype=np.float64) > 0).any(axis=1))
    return int(volumes.max()) + 1 if volumes.size else 0
