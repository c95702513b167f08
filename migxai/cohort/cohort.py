"""The cohort of the group level: who is in it with which maps, who is left out, and why.

Read from derivatives and participants.tsv alone; raw images are never looked at.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migxai.cohort.comparisons import Comparison
from migxai.cohort.compatibility import common_definition, common_space, refuse_same_maps
from migxai.cohort.datasets import as_numbers, choose_indicators, open_datasets
from migxai.cohort.eligibility import Participant, apply_where, find_participants
from migxai.cohort.participants import find_column, fold
from migxai.cohort.query import parse_where
from migxai.config import Learning
from migxai.errors import InputError, UsageError

if TYPE_CHECKING:
    import pandas as pd

#: Columns of `Cohort.people` before the other ones of participants.tsv.
PEOPLE_COLUMNS = ("dataset", "participant_id", "key", "group", "site", "age", "sex", "mean_fd")

#: Columns of `Cohort.left_out`.
LEFT_OUT_COLUMNS = ("dataset", "participant_id", "group", "site", "reason")


@dataclass(frozen=True, eq=False)
class Cohort:
    """Who is compared, on which maps.

    Attributes
    ----------
    people
        A row a person, sorted: `PEOPLE_COLUMNS`, then the other columns of participants.tsv (numbers as numbers; one
        called like one of `PEOPLE_COLUMNS` and not used as such has ``table_`` in front). ``key`` is
        ``<dataset>/<participant_id>``, ``group`` the value of the label column, ``site`` the dataset's name where none
        is given, ``mean_fd`` in mm, from participants.tsv or else from the confounds; what is unknown is missing.
    maps
        The maps of each indicator, for each row of `people`; those of several runs or sessions are to be averaged.
    left_out
        `LEFT_OUT_COLUMNS` of everyone else.
    messages
        What was chosen or found on the way.
    space, res
        The space and the ``res-`` label of all maps; None if their names have none.
    definitions
        How the maps of each indicator were made, as far as their sidecars say.
    """

    people: pd.DataFrame
    maps: Mapping[str, tuple[tuple[Path, ...], ...]]
    left_out: pd.DataFrame
    messages: tuple[str, ...]
    space: str | None
    res: str | None
    definitions: Mapping[str, Mapping[str, Any]]
    label_column: str

    def without(self, reasons: Mapping[str, str]) -> Cohort:
        """Leave people out for what their maps turned out to be: a reason by key. `InputError` if nobody is left."""
        import pandas as pd

        out = self.people["key"].isin(list(reasons)).to_numpy()
        leaving = self.people[out].assign(reason=self.people["key"].map(reasons))
        left_out = pd.concat([self.left_out, leaving[list(LEFT_OUT_COLUMNS)]]).sort_values(
            ["dataset", "participant_id"], ignore_index=True
        )
        if out.all():
            raise InputError(_nobody(left_out))
        maps = {
            name: tuple(paths for paths, leaves in zip(lists, out, strict=True) if not leaves)
            for name, lists in self.maps.items()
        }
        people = self.people[~out].reset_index(drop=True)
        return dataclasses.replace(self, people=people, maps=maps, left_out=left_out)

    def cohort_table(self, comparisons: Sequence[Comparison] = ()) -> pd.DataFrame:
        """Return the content of cohort.tsv: everyone, ``included`` (yes or no), and the reason if not.

        Besides `PEOPLE_COLUMNS` it holds the class in each comparison, as ``class_<comparison>``, and nothing else of
        participants.tsv, which may hold what must not be handed on.
        """
        import pandas as pd

        inside = self.people[[name for name in PEOPLE_COLUMNS if name != "key"]].copy()
        inside.insert(2, "included", "yes")
        inside.insert(3, "reason", None)
        for comparison in comparisons:
            places = [comparison.class_of(group) for group in inside["group"]]
            inside[f"class_{comparison.name}"] = [
                None if place is None else comparison.labels[place] for place in places
            ]
        outside = self.left_out.assign(included="no").reindex(columns=inside.columns)
        records = [*inside.to_dict("records"), *outside.to_dict("records")]
        table = pd.DataFrame(records, columns=inside.columns)
        return table.sort_values(["dataset", "participant_id"], ignore_index=True)

    def class_table(self, comparison: Comparison, cv: str, folds: int) -> pd.DataFrame:
        """Count people by class and site, with the smallest part that a fold can have of each class.

        `cv` and `folds` are how `migxai.learning.splits.make_folds` will be asked to split. A row a class and one for
        ``all``: ``class``, a column for each site, ``all``, ``smallest_test`` and ``smallest_train``. The smallest test
        part is 0 where a fold tests nobody of the class, as leave-one-out does by nature.
        """
        import pandas as pd

        rows, classes = comparison.members(self.people["group"])
        sites = self.people["site"].iloc[rows].to_numpy()
        labels = pd.Categorical([comparison.labels[place] for place in classes], categories=list(comparison.labels))
        counts = pd.crosstab(labels, sites, dropna=False)
        counts.loc["all"] = counts.sum()
        each = counts.to_numpy()
        total = each.sum(axis=1)
        if cv == "kfold":
            smallest, largest = total // folds, -(-total // folds)
        elif cv == "leave-one-out":
            smallest, largest = (total == total[-1]).astype(int), total.clip(max=1)
        else:
            smallest, largest = each.min(axis=1), each.max(axis=1)
        table = counts.assign(all=total, smallest_test=smallest, smallest_train=total - largest)
        return table.rename_axis(index="class", columns=None).reset_index()


def read_cohort(
    datasets: Sequence[tuple[str | None, Path]],
    settings: Learning,
    *,
    participants_from: Path | None = None,
    task: str | None = None,
) -> Cohort:
    """Read who is to be compared, with their maps, from one or several datasets.

    A dataset without a name goes by its own; a person is (dataset, participant_id). `participants_from` is the raw
    dataset that the first of `datasets` was made from: its participants.tsv adds what the one beside the maps lacks,
    and nothing else of it is read. `task` matters only where a dataset has maps of several.

    Raises
    ------
    UsageError
        If two datasets have one name or are one folder, or an option names a column that there is not.
    InputError
        If maps, labels or participants.tsv are missing; if somebody is there twice or in two groups; if maps of
        different spaces or definitions are mixed; if nobody is left.
    """
    opened = open_datasets(datasets)
    indicators, messages = choose_indicators(settings.indicators, opened)
    participants: list[Participant] = []
    columns: list[str] = []
    for place, dataset in enumerate(opened):
        raw = participants_from if place == 0 else None
        found, columns, said = find_participants(dataset, indicators, settings, raw=raw, task=task, columns=columns)
        participants += found
        messages += said
    messages += _check_sites(participants, columns, settings.site_column)
    conditions = [(text, parse_where(text)) for text in settings.where]
    participants = apply_where(participants, columns, conditions)
    participants.sort(key=lambda person: (person.dataset, person.participant))
    inside = [person for person in participants if person.reason is None]
    left_out = _left_out([person for person in participants if person.reason is not None])
    if not inside:
        raise InputError(_nobody(left_out))
    if len(left_out):
        messages.append(f"Left out are {len(left_out)} of {len(participants)} people ({_reasons(left_out)}).")
    everything = [item for person in inside for name in indicators for item in person.usable(name)]
    space, res, said = common_space(everything)
    messages += said
    definitions: dict[str, Mapping[str, Any]] = {}
    for name in indicators:
        of_indicator = [item for item in everything if item.indicator == name]
        definitions[name], said = common_definition(of_indicator)
        messages += said
        refuse_same_maps(of_indicator)
    people, said = _people_table(inside, columns, settings)
    maps = {name: tuple(tuple(item.path for item in person.usable(name)) for person in inside) for name in indicators}
    return Cohort(
        people=people,
        maps=maps,
        left_out=left_out,
        messages=tuple(dict.fromkeys([*messages, *said])),
        space=space,
        res=res,
        definitions=definitions,
        label_column=settings.label_column,
    )


def _check_sites(participants: Sequence[Participant], columns: Sequence[str], site_column: str) -> list[str]:
    """Refuse a site column that no dataset has, and say what sites were made of where that is not plain."""
    messages = []
    if find_column(columns, site_column) is None:
        if fold(site_column) != "site":
            raise UsageError(
                f"No participants.tsv has the site column {site_column!r}; there are: {', '.join(columns)}."
            )
        messages.append("participants.tsv has no column 'site', so each dataset counts as one site.")
    of_site: dict[str, set[str]] = {}
    for person in participants:
        of_site.setdefault(person.site, set()).add(person.dataset)
    for site, names in sorted(of_site.items()):
        if len(names) > 1:
            messages.append(
                f"People of {' and '.join(sorted(names))} count as one site, {site!r}, as their tables say."
            )
    return messages


def _people_table(
    inside: Sequence[Participant], columns: Sequence[str], settings: Learning
) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    messages = []
    frame = pd.DataFrame([person.row for person in inside], columns=list(columns), dtype=object)
    table = pd.DataFrame(
        {
            "dataset": [person.dataset for person in inside],
            "participant_id": [person.participant for person in inside],
            "key": [f"{person.dataset}/{person.participant}" for person in inside],
            "group": [person.group for person in inside],
            "site": [person.site for person in inside],
        }
    )
    age = find_column(columns, "age")
    values = frame[age] if age is not None else pd.Series([None] * len(frame), dtype=object)
    table["age"] = pd.to_numeric(values, errors="coerce").astype("float64")
    odd = values[table["age"].isna() & values.notna()]
    if not odd.empty:
        messages.append(f"{len(odd)} ages are no numbers (such as {odd.iloc[0]!r}) and count as unknown.")
    sex = find_column(columns, "sex") or find_column(columns, "gender")
    table["sex"] = frame[sex] if sex is not None else None
    table["mean_fd"] = pd.Series([person.mean_fd for person in inside], dtype="float64")
    taken = {find_column(columns, name) for name in (settings.label_column, settings.site_column)}
    for name in columns:
        if name not in table:
            table[name] = as_numbers(frame[name])
        elif name in ("dataset", "key", "group", "site") and name not in taken:
            table[f"table_{name}"] = as_numbers(frame[name])
    return table, messages


def _left_out(people: Sequence[Participant]) -> pd.DataFrame:
    import pandas as pd

    rows = [(person.dataset, person.participant, person.group, person.site, person.reason) for person in people]
    return pd.DataFrame(rows, columns=list(LEFT_OUT_COLUMNS), dtype=object)


def _reasons(left_out: pd.DataFrame) -> str:
    """Count people by reason, without what each reason says of one person."""
    counts = Counter(re.split(r": | \(there is ", reason)[0] for reason in left_out["reason"])
    return ", ".join(f"{kind}: {count}" for kind, count in counts.most_common())


def _nobody(left_out: pd.DataFrame) -> str:
    first = left_out.iloc[0]
    return (
        f"Nobody is left to compare: all {len(left_out)} people are left out ({_reasons(left_out)}); "
        f"{first['participant_id']} of {first['dataset']}, for one: {first['reason']}."
    )
