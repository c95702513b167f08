"""A dataset's participants.tsv: how it is read, which of its columns may be handed on, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from migxai.bids.outputs import SourceDataset
from migxai.errors import InputError
from migxai.execution.locks import shared_lock
from migxai.io import read_json, read_tsv, write_json, write_tsv

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

    Raises `InputError` if the file cannot be read, has no ``participant_id``, or names someone twice.
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


def update_participants(output_dir: Path, source: SourceDataset, labels: Iterable[str]) -> pd.DataFrame:
    """Enter subjects into the output's participants.tsv, with the columns that group level may read.

    Returns the table as written: sorted, with a ``site`` for everyone (the source's name where none is given). Raises
    `InputError` if the source's table cannot be read or names a subject twice.
    """
    import pandas as pd

    wanted = [f"sub-{label}" for label in labels]
    known = participant_columns(read_participants(source.root))
    rows = known.reindex(wanted)
    rows["site"] = rows["site"].replace("n/a", pd.NA).fillna(source.name) if "site" in rows else source.name
    with shared_lock(output_dir):
        present = read_participants(output_dir)
        table = pd.concat([present[~present.index.isin(wanted)], rows]).sort_index()
        table = table.fillna("n/a").rename_axis("participant_id").reset_index()
        write_tsv(output_dir / "participants.tsv", table)
        _copy_column_descriptions(output_dir, source, [str(name) for name in table.columns])
    return table


def _copy_column_descriptions(output_dir: Path, source: SourceDataset, columns: list[str]) -> None:
    path = source.root / "participants.json"
    if not path.is_file():
        return
    described = participant_columns(read_json(path, source.root))
    content = {name: described[name] for name in columns if name in described}
    if content:
        write_json(output_dir / "participants.json", content)
