"""Read participants.tsv as people write it; where it and the folders of maps differ, messages say exactly how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from migxai.bids.outputs import PARTICIPANT_COLUMNS
from migxai.cohort.query import is_missing
from migxai.errors import InputError
from migxai.io import read_tsv

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, str | None]

_SHOWN = 5


@dataclass(frozen=True)
class ParticipantsTable:
    """A participants.tsv: its columns, and a row of text (None where a value is missing) for each ``sub-<label>``."""

    columns: tuple[str, ...] = ()
    rows: Mapping[str, Row] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


def fold(name: str) -> str:
    """Reduce a column's name to what has to agree: upper and lower case, blanks, ``-`` and ``_`` make no difference."""
    return re.sub(r"[\s_-]", "", name.casefold())


_USUAL = {fold(name): name for name in PARTICIPANT_COLUMNS}


def find_column(columns: Iterable[str], wanted: str) -> str | None:
    """Find a column by its name, or else by its folded name; None if there is none."""
    known = list(columns)
    return wanted if wanted in known else next((name for name in known if fold(name) == fold(wanted)), None)


def read_participants_table(path: Path, dataset: str) -> ParticipantsTable:
    """Read a participants.tsv of a dataset, named in messages; nobody is in a file that does not exist.

    Columns that participant level copies get their usual spelling; cells are stripped of blanks. Raises `InputError` if
    it is no table, has no ``participant_id``, the same column twice, or the same person twice.
    """
    if not path.is_file():
        return ParticipantsTable()
    where = f"{path.name} of {dataset}"
    table = read_tsv(path).fillna("")
    _check_header(path, table, where)
    table.columns = table.columns.str.strip()
    id_column = find_column(table.columns, "participant_id")
    if id_column is None:
        raise InputError(f"{where} has no column participant_id; BIDS requires it to be the first.")
    columns, messages = _settle_columns(table, id_column, where)
    rows: dict[str, Row] = {}
    for number, record in enumerate(table.to_dict("records"), start=2):
        cells = {str(key): str(value).strip() for key, value in record.items()}
        participant = cells[id_column]
        row: Row = {name: None if is_missing(cells[source]) else cells[source] for name, source in columns.items()}
        if is_missing(participant):
            if any(value is not None for value in row.values()):
                raise InputError(f"{where} names nobody in line {number}; fill in participant_id.")
            continue
        participant = participant if participant.startswith("sub-") else f"sub-{participant}"
        if participant in rows:
            raise InputError(_twice(participant, rows[participant], row, where))
        rows[participant] = row
    return ParticipantsTable(tuple(columns), rows, tuple(messages))


def _check_header(path: Path, table: pd.DataFrame, where: str) -> None:
    """Refuse what pandas repairs in silence: a column that is there twice, and rows longer than the header."""
    import pandas as pd

    with path.open(encoding="utf-8-sig") as stream:
        names = [name.strip() for name in stream.readline().rstrip("\r\n").split("\t")]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where} has the column {twice!r} twice; remove or rename one.")
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(f"{where} has rows with more cells than the header; remove the tabs at their ends.")


def _settle_columns(table: pd.DataFrame, id_column: str, where: str) -> tuple[dict[str, str], list[str]]:
    """Map names as they are used here to those of the table; of two that mean the same, the first is kept."""
    columns: dict[str, str] = {}
    messages = []
    for name in table.columns:
        if name == id_column or not name:
            continue
        usual = _USUAL.get(fold(name), name)
        same = find_column(columns, usual)
        if same is None:
            columns[usual] = name
            continue
        first = columns[same]
        differ = (table[first].str.strip() != table[name].str.strip()).to_numpy()
        if differ.any():
            row = table.iloc[int(differ.argmax())]
            raise InputError(
                f"{where} has two columns of one name, {first!r} and {name!r}, which differ (in {row[id_column]}: "
                f"{row[first]!r} and {row[name]!r}); remove or rename one."
            )
        messages.append(f"{where} has {first!r} and {name!r}, which are the same; {first!r} is used.")
    return columns, messages


def _twice(participant: str, first: Row, second: Row, where: str) -> str:
    different = [f"{name} {first[name]} and {second[name]}" for name in first if first[name] != second[name]]
    how = f" ({', '.join(different[:_SHOWN])})" if different else ""
    return f"{where} names {participant} more than once{how}; keep one row for each participant."


def supplement(own: ParticipantsTable, raw: ParticipantsTable, label_column: str, dataset: str) -> ParticipantsTable:
    """Add to a dataset's own table, which stands, what the table of the raw data it was made from knows besides.

    Raises `InputError` if the two put somebody in different groups.
    """
    spelling = {name: find_column(own.columns, name) or name for name in raw.columns}
    columns = dict.fromkeys([*own.columns, *spelling.values()])
    rows: dict[str, Row] = {}
    stale: set[str] = set()
    for participant in dict.fromkeys([*own.rows, *raw.rows]):
        row: Row = dict.fromkeys(columns)
        row.update({spelling[name]: value for name, value in raw.rows.get(participant, {}).items()})
        for name, value in own.rows.get(participant, {}).items():
            if value is None:
                continue
            if row[name] not in (None, value):
                if fold(name) == fold(label_column):
                    raise InputError(
                        f"{participant} of {dataset} is in two groups: {name} is {value!r} in the participants.tsv "
                        f"beside the maps and {row[name]!r} in that of the raw data. Correct the one that is wrong; "
                        "running the participant level again copies the raw data's."
                    )
                stale.add(name)
            row[name] = value
        rows[participant] = row
    messages = [*own.messages, *raw.messages]
    if stale:
        messages.append(
            f"The participants.tsv beside the maps of {dataset} and that of its raw data differ in "
            f"{', '.join(sorted(stale))}; the one beside the maps is used."
        )
    return ParticipantsTable(tuple(columns), rows, tuple(dict.fromkeys(messages)))


def near_label(participant: str, known: Iterable[str]) -> str:
    """Say which known participant has almost this label, and what differs; empty if none has.

    >>> near_label("sub-01", ["sub-1", "sub-2"])
    ' (there is sub-1: zeros in front of the number differ)'
    """
    others = list(known)
    for how, key in (
        ("upper and lower case differ", str.casefold),
        ("zeros in front of the number differ", _without_zeros),
        ("it is written otherwise", lambda text: _without_zeros(re.sub(r"[^0-9a-z]", "", text.casefold()))),
    ):
        near = [other for other in others if key(other) == key(participant)]
        if near:
            return f" (there is {near[0]}: {how})"
    return ""


def _without_zeros(label: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", label)
