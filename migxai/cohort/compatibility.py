"""Whether maps belong together: one task a dataset, one space, one definition, and nobody twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migxai.bids.names import BIDSName
from migxai.errors import InputError
from migxai.indicators.registry import INDICATORS

#: Sidecar fields that say how the numbers of any map were made, beside those of its indicator's own definition; what
#: scanners and runs differ in by nature is not among them.
COMMON_FIELDS: tuple[str, ...] = (
    "Atlas",
    "FrequencyBand",
    "Normalization",
    "NormalizationVoxels",
    "InputSeries",
    "SmoothedBefore",
    "SmoothedAfter",
    "SmoothingUnits",
    "ProcessingOrder",
    "NuisanceRegressors",
)

#: Of the atlas, what changes numbers.
_ATLAS_FIELDS = ("Name", "Regions", "MinimumCoverage")


def definition_fields(indicator: str) -> tuple[str, ...]:
    """Name the sidecar fields in which all maps of an indicator must agree to be pooled.

    Of an indicator that is not known here, the fields of all that are known count.
    """
    entries = [INDICATORS[indicator]] if indicator in INDICATORS else list(INDICATORS.values())
    own = dict.fromkeys(field for entry in entries for field in entry.definition_fields())
    return ("Statistic", *own, *COMMON_FIELDS)


@dataclass(frozen=True)
class MapFile:
    """One map of one person: where it lies, what its name and its sidecar say (empty if it has none)."""

    dataset: str
    path: Path
    name: BIDSName
    metadata: Mapping[str, Any]

    @property
    def participant(self) -> str:
        """``sub-<label>``."""
        return f"sub-{self.name.entities['sub']}"

    @property
    def indicator(self) -> str:
        """Value of ``stat-``."""
        return self.name.entities["stat"]

    @property
    def run(self) -> tuple[str | None, str | None]:
        """Session and task."""
        return self.name.entities.get("ses"), self.name.entities.get("task")

    @property
    def exclusion(self) -> str | None:
        """Why the run was set aside when the map was made; None if it was not."""
        if not self.metadata.get("Excluded"):
            return None
        return str(self.metadata.get("ExclusionReason") or "without a reason").rstrip(".")

    def __str__(self) -> str:
        """Name the map in a message; two datasets may have files of the same name."""
        return f"{self.path.name} of {self.dataset}"


def choose_task(
    found: Sequence[tuple[Path, BIDSName]], dataset: str, wanted: str | None
) -> tuple[str | None, str | None]:
    """Choose the task of a dataset: the one wanted, else the only one, else rest, else the most frequent.

    The task is None if names have none; the message may be None too. Raises `InputError` if several tasks are as
    frequent as each other.
    """
    counts = Counter(name.entities.get("task") for _, name in found)
    if wanted in counts and wanted is not None:
        chosen: str | None = wanted
    elif len(counts) == 1:
        chosen = next(iter(counts))
    elif wanted is None and "rest" in counts:
        chosen = "rest"
    else:
        (chosen, first), (_, second) = counts.most_common(2)
        if first == second:
            raise InputError(
                f"{dataset} holds maps of several tasks ({_list(counts)}), none of them more than the others; choose "
                "one with -t/--task-id."
            )
    others = [task for task in counts if task != chosen]
    if others:
        return chosen, f"{dataset}: the maps of task {chosen} are used, those of {_list(others)} are not."
    if wanted is not None and chosen != wanted:
        return chosen, f"{dataset} holds no map of task {wanted}; the only task it has, {chosen}, is used."
    return chosen, None


def _list(tasks: Iterable[str | None]) -> str:
    return ", ".join(sorted(task or "no task" for task in tasks))


def common_space(maps: Sequence[MapFile]) -> tuple[str | None, str | None, list[str]]:
    """Return the space and the ``res-`` label of all maps, and messages.

    Raises `InputError` if there are two of either; a map of each is named.
    """
    space = _common_entity(maps, "space")
    named = [item for item in maps if "res" in item.name.entities]
    messages = []
    if named and len(named) < len(maps):
        without = next(item for item in maps if "res" not in item.name.entities)
        messages.append(f"{len(maps) - len(named)} maps, such as {without}, have no res- in their names; others do.")
    return space, _common_entity(named, "res") if named else None, messages


def _common_entity(maps: Sequence[MapFile], entity: str) -> str | None:
    first = maps[0]
    for other in maps[1:]:
        values = [item.name.entities.get(entity) for item in (first, other)]
        if values[0] != values[1]:
            what = " and ".join(f"{entity}-{value}" if value else f"no {entity}" for value in values)
            raise InputError(
                f"Maps of {what} are mixed: {first}, and {other}. Make all maps alike, or leave a dataset out."
            )
    return first.name.entities.get(entity)


def common_definition(maps: Sequence[MapFile]) -> tuple[dict[str, Any], list[str]]:
    """Return how the maps of one indicator were made, as far as their sidecars say, and messages.

    Raises `InputError` if two maps were made differently; both are named, and the field.
    """
    said: dict[str, tuple[Any, MapFile]] = {}
    fields = definition_fields(maps[0].indicator)
    for item in maps:
        for field in fields:
            if field not in item.metadata:
                continue
            value = _number_free(field, item.metadata[field])
            before, first = said.setdefault(field, (value, item))
            if before != value:
                raise InputError(
                    f"The maps of {item.indicator} were not all made alike: {field} is {before!r} for {first}, and "
                    f"{value!r} for {item}. Make all maps with the same options, or leave a dataset out."
                )
    silent = [item for item in maps if not any(field in item.metadata for field in fields)]
    messages = []
    if silent:
        what = f"All {len(maps)}" if len(silent) == len(maps) else f"{len(silent)} of the {len(maps)}"
        messages.append(
            f"{what} maps of {silent[0].indicator} have no sidecar that says how they were made (such as {silent[0]}); "
            "that they were all made alike is taken on trust."
        )
    makers = Counter(maker for item in maps if (maker := _maker(item.metadata)))
    if len(makers) > 1:
        listed = ", ".join(f"{maker} ({count})" for maker, count in sorted(makers.items()))
        messages.append(f"The maps of {maps[0].indicator} were made by different versions: {listed}.")
    return {field: said[field][0] for field in fields if field in said}, messages


def _number_free(field: str, value: Any) -> Any:
    """Take out of a field what differs from run to run though the definition is the same."""
    if field == "Normalization" and isinstance(value, str):
        return value.partition(",")[0]  # "divided by its mean in the mask, 0.83"
    if field == "Atlas" and isinstance(value, Mapping):
        return {key: value[key] for key in _ATLAS_FIELDS if key in value}
    return value


def _maker(metadata: Mapping[str, Any]) -> str:
    maker = metadata.get("GeneratedBy")
    if not isinstance(maker, Mapping):
        return ""
    extension = f" with {metadata['Extension']}" if "Extension" in metadata else ""
    return f"{maker.get('Name', '')} {maker.get('Version', '')}".strip() + extension


def refuse_same_maps(maps: Iterable[MapFile]) -> None:
    """Raise `InputError` for one person under two names (maps that are equal byte for byte) or an unreadable map."""
    by_size: dict[int, list[MapFile]] = defaultdict(list)
    for item in maps:
        by_size[item.path.stat().st_size].append(item)
    seen: dict[bytes, MapFile] = {}
    # Files of different sizes differ, so hardly any has to be read.
    for item in (item for same in by_size.values() if len(same) > 1 for item in same):
        try:
            with item.path.open("rb") as stream:
                first = seen.setdefault(hashlib.file_digest(stream, "sha256").digest(), item)
        except OSError as error:
            raise InputError(f"{item} cannot be read: {error.strerror or error}.") from error
        if (first.dataset, first.participant) != (item.dataset, item.participant):
            raise InputError(
                f"{first.participant} of {first.dataset} and {item.participant} of {item.dataset} are the same person "
                f"under two names: their maps of {item.indicator} are equal byte for byte. Remove one, or the "
                "same brain would be trained on and tested."
            )
