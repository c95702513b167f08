"""Read the tables and JSON files of a dataset: participants.tsv, sidecars, dataset_description.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from migxai.errors import InputError

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


def read_json(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path
        The file.
    root
        The dataset it lies in; messages name the file relative to it.

    Raises
    ------
    InputError
        If it cannot be read, is not JSON, or is not an object.
    """
    name = display_name(path, root)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{name} is not valid JSON (line {error.lineno}: {error.msg}); correct the file.") from error
    if not isinstance(content, dict):
        raise InputError(f"{name} holds no JSON object; correct the file.")
    return content


def display_name(path: Path, root: Path | None) -> str:
    """Name a file in a message: relative to its dataset where possible, else by its name alone."""
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.name


def read_tsv(path: Path, root: Path | None = None) -> pd.DataFrame:
    """Read a table as text, cell by cell as it stands.

    Raises
    ------
    InputError
        If it cannot be read or is not a table.
    """
    import pandas as pd

    name = display_name(path, root)
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "empty"
        raise InputError(f"{name} is not a table of tab-separated values: {reason}.") from error


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
