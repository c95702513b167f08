"""Everyone whom the datasets name, each with what keeps them out of the cohort, if anything does.

Whose maps cover too little of the brain is known later: see `migxai.group.plan`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from migxai.bids.layout import inherited_metadata, require_content
from migxai.bids.outputs import UNNAMED
from migxai.bids.records import read_record
from migxai.cohort.compatibility import MapFile, choose_task
from migxai.cohort.datasets import MapDataset, mean_displacement
from migxai.cohort.participants import (
    ParticipantsTable,
    Row,
    find_column,
    near_label,
    read_participants_table,
    supplement,
)
from migxai.cohort.query import Condition, check_columns, is_missing
from migxai.config import Learning
from migxai.errors import InputError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Participant:
    """Somebody whom a table or a folder names; dataset and participant together are the person.

    `row` holds the cells of participants.tsv in the cohort's spelling of the columns, `maps` all maps of each
    indicator, also those of excluded runs, and `reason` what keeps the person out (None if nothing does).
    """

    dataset: str
    participant: str
    row: Row
    group: str | None
    site: str
    maps: Mapping[str, tuple[MapFile, ...]] = field(default_factory=dict)
    mean_fd: float | None = None
    reason: str | None = None

    def usable(self, indicator: str) -> tuple[MapFile, ...]:
        """Return the maps whose runs were not excluded."""
        return tuple(item for item in self.maps.get(indicator, ()) if item.exclusion is None)


def find_participants(
    dataset: MapDataset,
    indicators: Sequence[str],
    settings: Learning,
    *,
    raw: Path | None,
    task: str | None,
    columns: Sequence[str],
) -> tuple[list[Participant], list[str], list[str]]:
    """List everyone whom a dataset's table or folders name, with the columns of all datasets so far, and messages.

    Everyone needs a map of each of `indicators`. `raw` is the raw dataset whose participants.tsv may add to this one's;
    `columns` are those of the datasets read before, whose spelling is kept. Raises `InputError` if there is no table or
    label column, or the table names nobody who has maps; see also `read_participants_table`.
    """
    people = _read_table(dataset, raw, settings.label_column)
    spelling = {name: find_column(columns, name) or name for name in people.columns}
    label = _label_column(people, settings.label_column, dataset.name)
    site = find_column(people.columns, settings.site_column)
    maps, said = _list_maps(dataset, indicators, task)
    messages = [*people.messages, *said]
    if not set(maps) & set(people.rows):
        hint = next((text for text in (near_label(name, people.rows) for name in sorted(maps)) if text), "")
        raise InputError(
            f"None of the {len(maps)} people who have maps in {dataset.name} is in its participants.tsv: "
            f"{min(maps)} is not there{hint}. Make the labels in the table those of the folders."
        )
    found = []
    for participant in dict.fromkeys([*people.rows, *maps]):
        row = people.rows.get(participant, {})
        given = row.get(site) if site is not None else None
        person = Participant(
            dataset=dataset.name,
            participant=participant,
            row={spelling[name]: value for name, value in row.items()},
            group=row.get(label),
            # Participant level writes what it knows of a dataset without a name, which names no site.
            site=dataset.name if given in (None, UNNAMED) else given,
            maps={name: tuple(items) for name, items in maps.get(participant, {}).items()},
        )
        reason = _reason(person, dataset, indicators, people, settings.label_column)
        person = dataclasses.replace(person, reason=reason)
        if person.reason is None:
            person = dataclasses.replace(person, mean_fd=_mean_fd(person, dataset.root))
            messages += _partly_excluded(person, indicators)
        found.append(person)
    return found, list(dict.fromkeys([*columns, *spelling.values()])), messages


def _list_maps(
    dataset: MapDataset, indicators: Sequence[str], task: str | None
) -> tuple[dict[str, dict[str, list[MapFile]]], list[str]]:
    """List the maps of the indicators and of one task, by person and indicator (none for people with others alone)."""
    chosen, message = choose_task(dataset.found, dataset.name, task)
    maps: dict[str, dict[str, list[MapFile]]] = {}
    for path, name in dataset.found:
        listed = maps.setdefault(f"sub-{name.entities['sub']}", {})
        if name.entities["stat"] in indicators and name.entities.get("task") == chosen:
            item = MapFile(dataset.name, path, name, inherited_metadata(path, dataset.root))
            listed.setdefault(item.indicator, []).append(item)
    return maps, [message] if message else []


def _read_table(dataset: MapDataset, raw: Path | None, label_column: str) -> ParticipantsTable:
    people = read_participants_table(dataset.root / "participants.tsv", dataset.name)
    if raw is not None and raw.resolve() != dataset.root.resolve():
        more = read_participants_table(raw / "participants.tsv", f"the raw data of {dataset.name}")
        people = supplement(people, more, label_column, dataset.name)
    if not people.rows:
        raise InputError(
            f"{dataset.name} has no participants.tsv with people in it; group level reads labels from that table, from "
            f"its columns participant_id and {label_column}."
        )
    return people


def _label_column(people: ParticipantsTable, wanted: str, dataset: str) -> str:
    label = find_column(people.columns, wanted)
    if label is None:
        near = difflib.get_close_matches(wanted, people.columns, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(people.columns) or 'no other'}."
        raise InputError(
            f"participants.tsv of {dataset} has no column {wanted!r} for the labels; choose one with --label-column: "
            f"{hint}"
        )
    return label


def _reason(
    person: Participant, dataset: MapDataset, indicators: Sequence[str], people: ParticipantsTable, label_column: str
) -> str | None:
    """Say what keeps a person out, --where apart."""
    if not person.maps:
        record = read_record(dataset.root, person.participant.removeprefix("sub-"))
        if record is not None and record.state == "failed":
            return f"no map: the participant level failed: {str(record.error).rstrip('.')}"
        owners = {f"sub-{name.entities['sub']}" for _, name in dataset.found}
        if person.participant not in owners:
            return f"no map{near_label(person.participant, sorted(owners))}"
    for indicator in indicators:
        listed = person.maps.get(indicator, ())
        if not listed:
            return f"no map of {indicator}"
        if not person.usable(indicator):
            return f"excluded: {'; '.join(dict.fromkeys(str(item.exclusion) for item in listed))}"
    if person.participant not in people.rows:
        return f"no row in participants.tsv{near_label(person.participant, people.rows)}"
    if person.group is None:
        return f"no label: {label_column} is missing in participants.tsv"
    try:
        for indicator in indicators:
            for item in person.usable(indicator):
                require_content(item.path, dataset.root)
    except InputError as error:
        return str(error).rstrip(".")
    return None


def _mean_fd(person: Participant, root: Path) -> float | None:
    """Mean framewise displacement, mm: as participants.tsv says, or else from the confounds beside the maps used."""
    column = find_column(person.row, "mean_fd")
    value = person.row[column] if column is not None else None
    if value is not None:
        try:
            return float(value)
        except ValueError as error:
            raise InputError(
                f"participants.tsv of {person.dataset}: mean_fd of {person.participant} is {value!r}, not a number."
            ) from error
    runs = {item.run for name in person.maps for item in person.usable(name)}
    return mean_displacement(root, person.participant, runs)


def _partly_excluded(person: Participant, indicators: Sequence[str]) -> list[str]:
    return [
        f"{item} is left out of the mean of {person.participant}: {item.exclusion}."
        for name in indicators
        for item in person.maps[name]
        if item.exclusion is not None
    ]


def apply_where(
    participants: Sequence[Participant], columns: Sequence[str], conditions: Sequence[tuple[str, Condition]]
) -> list[Participant]:
    """Leave out those who do not meet every condition, or of whom it is not known.

    Raises `UsageError` if a condition names a column that there is not, or puts text in order.
    """
    derived = ("dataset", "participant_id", "group", "site", "mean_fd")
    for text, condition in conditions:
        check_columns(condition, [*columns, *(name for name in derived if name not in columns)], text)
    judged = []
    for person in participants:
        if person.reason is None:
            values = (person.dataset, person.participant, person.group, person.site, person.mean_fd)
            row: dict[str, object] = dict.fromkeys(columns)
            row |= person.row
            row |= {name: value for name, value in zip(derived, values, strict=True) if is_missing(row.get(name))}
            for text, condition in conditions:
                holds, why = condition.judge(row)
                if not holds:
                    person = dataclasses.replace(person, reason=f"--where {text}: {why}")
                    break
        judged.append(person)
    return judged
