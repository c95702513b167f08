"""A dataset's participants.tsv: how it is read, and which of its columns may be handed on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from migxai.errors import InputError
from migxai.io import read_tsv

if TYPE_CHECKING:
    import pandas as pd

    Table = TypeVar("Table", pd.DataFrame, dict[str, Any])

#: Columns of participants.tsv that participant level copies (nothing that could name a person), by their usual
#: spelling; upper and lower case, blanks, ``-`` and ``_`` make no difference in the source.
PARTICIPANT_COLUMNS: tuple[str, ...] = (
    "group",
    "diagnosis",
    "site",
    "scanner",
    "age",
    "sex",
    "gender",
    "handedness",
    "education",
    "HAMD24",
    "HAMA14",
    "HAMD17",
    "BMI",
    "disease_duration",
    "attack_frequency",
    "headache_days",
    "attack_duration",
    "VAS",
    "MIDAS",
    "HIT6",
    "phase",
    "medication",
    "mean_fd",
)

_FOLDED = {re.sub(r"[^0-9a-z]", "", name.lower()): name for name in PARTICIPANT_COLUMNS}


def read_participants(root: Path) -> pd.DataFrame:
    """Read a dataset's participants.tsv, indexed by ``participant_id`` (with ``sub-``); empty if there is none.

    Raises
    ------
    InputError
        If the file cannot be read, has no ``participant_id``, or names someone twice.
    """
    import pandas as pd

    path = root / "participants.tsv"
    if not path.is_file():
        return pd.DataFrame(index=pd.Index([], name="participant_id", dtype=str))
    table = read_tsv(path, root)
    if "participant_id" not in table:
        raise InputError("participants.tsv has no column participant_id; BIDS requires it to be the first.")
    ids = table["participant_id"].str.strip()
    table["participant_id"] = ids.where(ids.str.startswith("sub-"), "sub-" + ids)
    twice = table.loc[table["participant_id"].duplicated(), "participant_id"]
    if not twice.empty:
        raise InputError(f"participants.tsv names {twice.iloc[0]} more than once; keep one row for each participant.")
    return table.set_index("participant_id")


def participant_columns(table: Table) -> Table:
    """Keep the columns (or keys) that may be copied, under their usual spelling; the first of two alike wins."""
    chosen: dict[str, str] = {}
    for name in table:
        usual = _FOLDED.get(re.sub(r"[^0-9a-z]", "", str(name).lower()))
        if usual is not None:
            chosen.setdefault(usual, str(name))
    if isinstance(table, Mapping):
        return cast("Table", {usual: table[name] for usual, name in chosen.items()})
    return table[list(chosen.values())].set_axis(list(chosen), axis=1)
