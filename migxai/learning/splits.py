"""Who is trained on and who is tested: folds over people, never over slices.

Trials and folds are numbered from 1. Everything follows from one seed, and trial t is the same however many follow it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import InputError, UsageError
from migxai.metrics.types import IntArray

Scheme = Literal["kfold", "leave-one-out", "leave-one-site-out"]

#: Columns of the table that folds are written to.
FOLD_COLUMNS = ("comparison", "trial", "fold", "dataset", "participant_id")

#: Times a trial is drawn anew that repeats an earlier one; so many repeats mean that there are hardly others.
REDRAWS = 50

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """One fit: places (n_train,) and (n_test,) of people in the arrays that the folds were made from, each ascending.

    Trials and folds are numbered from 1; no place is in both parts.
    """

    trial: int
    number: int
    train: IntArray
    test: IntArray


def make_folds(
    labels: ArrayLike,
    sites: Sequence[str],
    *,
    cv: Scheme,
    folds: int,
    trials: int,
    seed: int,
    names: Sequence[str] = (),
) -> tuple[list[Fold], list[str]]:
    """Make the folds of every trial.

    Parameters
    ----------
    labels
        Class of each person, 0 to C - 1, shape (n,).
    sites
        Site of each person, (n,).
    cv
        ``kfold``: stratified by class and site together, so that the folds' counts of any class, and of any class at
        any site, differ by one at most. ``leave-one-out``: each person alone. ``leave-one-site-out``: each site alone.
    folds, trials
        Of ``kfold``; the others can be done in one way only, so they have one trial.
    names
        Names of the classes, for messages.

    Returns
    -------
    tuple
        The folds, trial by trial, each trial a partition of all people into test sets; and messages.

    Raises
    ------
    UsageError
        If fewer than two folds, no trial, or leave-one-site-out with one site is asked for, or a site's absence takes
        a class away altogether.
    InputError
        If a class has fewer people than folds (two, leaving one out).
    """
    classes = np.asarray(labels, dtype=np.int64)
    places = np.unique(np.asarray(sites, dtype=str), return_inverse=True)
    if trials < 1:
        raise UsageError("Cross-validation needs at least one trial; give --trials 1 or more.")
    if cv == "kfold":
        return _kfold(classes, places[1], folds=folds, trials=trials, seed=seed, names=names)
    messages = [] if trials == 1 else [f"{cv} can be done in one way only: one trial, not {trials}."]
    if cv == "leave-one-out":
        _require_people(classes, 2, names, "so that one is left to learn from when the other is tested")
        return _as_folds(1, np.arange(classes.size)), messages
    if len(places[0]) < 2:
        only = f", {str(places[0][0])!r}" if len(places[0]) else ""
        raise UsageError(
            f"leave-one-site-out needs people of two sites, and there is one{only}: name the column by --site-column, "
            "add a dataset of another site with -d NAME=PATH, or use --cv kfold."
        )
    made = _as_folds(1, places[1])
    for site, fold in zip(places[0], made, strict=True):
        for place in np.unique(classes):
            if not (classes[fold.train] == place).any():
                raise UsageError(
                    f"leave-one-site-out cannot be done: everyone of class {_name(place, names)} is from site "
                    f"{str(site)!r}, so no other site can teach it. Use --cv kfold, or a comparison without that class."
                )
            if not (classes[fold.test] == place).any():
                messages.append(f"Site {str(site)!r} has nobody of class {_name(place, names)}.")
    return made, messages


def _kfold(
    classes: IntArray, sites: IntArray, *, folds: int, trials: int, seed: int, names: Sequence[str]
) -> tuple[list[Fold], list[str]]:
    if folds < 2:
        raise UsageError(f"Cross-validation needs at least two folds, not {folds}; give --folds 2 or more.")
    _require_people(classes, folds, names, f"for {folds} folds; use fewer --folds, or --cv leave-one-out")
    messages = []
    small = min(Counter(zip(classes.tolist(), sites.tolist(), strict=True)).values())
    if small < folds:
        messages.append(
            f"At some site a class has fewer people ({small}) than there are folds ({folds}): every fold has its share "
            "of each class, and sites are spread as far as they go."
        )
    made: list[Fold] = []
    seen: dict[frozenset[bytes], int] = {}
    for trial, sequence in enumerate(np.random.SeedSequence(seed).spawn(trials), start=1):
        rng = np.random.default_rng(sequence)
        for _ in range(REDRAWS):
            numbers = _deal(classes, sites, folds, rng)
            partition = frozenset(np.flatnonzero(numbers == number).tobytes() for number in range(folds))
            if partition not in seen:
                break
        first = seen.setdefault(partition, trial)
        if first != trial:
            messages.append(
                f"Trial {trial} has the folds of trial {first}: so few people can hardly be dealt otherwise."
            )
        made += _as_folds(trial, numbers)
    return made, messages


def _deal(classes: IntArray, sites: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Deal people to folds like cards, class by class and, within a class, site by site.

    Any run of neighbours in the deal is spread over the folds to within one person. That holds for a class at a site
    and for a class as a whole, and since each class goes on where the one before it ended, for everybody as well.
    What is free is the order of the sites: the next is always the one that has fewest people in the folds whose turn
    it is, so that each site as a whole is spread too.
    """
    numbers: IntArray = np.empty(classes.size, dtype=np.int64)
    spread: IntArray = np.zeros((int(sites.max()) + 1, folds), dtype=np.int64)
    hands = rng.permutation(folds)
    dealt = 0
    for place in rng.permutation(np.unique(classes)):
        waiting = [np.flatnonzero((classes == place) & (sites == site)) for site in rng.permutation(spread.shape[0])]
        waiting = [people for people in waiting if people.size]
        while waiting:
            turns = [hands[(dealt + np.arange(people.size)) % folds] for people in waiting]
            # How full a site's turns are, against its folds on average.
            excess = [
                float((spread[sites[people[0]], turn] - spread[sites[people[0]]].mean()).sum())
                for people, turn in zip(waiting, turns, strict=True)
            ]
            best = int(np.argmin(excess))
            people, turn = waiting.pop(best), turns[best]
            numbers[rng.permutation(people)] = turn
            np.add.at(spread, (sites[people], turn), 1)
            dealt += people.size
    return numbers


def _as_folds(trial: int, numbers: IntArray) -> list[Fold]:
    """Make one fold of each value in `numbers`, the place of each person's test fold."""
    return [
        Fold(trial, count, np.flatnonzero(numbers != value), np.flatnonzero(numbers == value))
        for count, value in enumerate(np.unique(numbers), start=1)
    ]


def _require_people(classes: IntArray, least: int, names: Sequence[str], why: str) -> None:
    places, counts = np.unique(classes, return_counts=True)
    if places.size < 2:
        raise InputError("Cross-validation needs people of two classes at least.")
    if counts.min() < least:
        have = ", ".join(f"{_name(place, names)} {count}" for place, count in zip(places, counts, strict=True))
        raise InputError(f"Too few people in a class ({have}): each needs at least {least} {why}.")


def _name(place: int, names: Sequence[str]) -> str:
    return names[place] if place < len(names) else str(place)


def inner_split(labels: ArrayLike, seed: int, share: float = 0.2) -> tuple[IntArray, IntArray]:
    """Split the people of a training part once more, for the choice of an epoch.

    Returns the places, ascending, of those to learn from and of those set aside: a `share` of each class (0 to 1), at
    least one person of each, and never all. InputError if a class has one person only.
    """
    classes = np.asarray(labels, dtype=np.int64)
    rng = np.random.default_rng(seed)
    aside = np.zeros(classes.size, dtype=bool)
    for place in np.unique(classes):
        people = np.flatnonzero(classes == place)
        if people.size < 2:
            raise InputError(
                "A class has one person only in a training part, so none can be set aside to choose the epoch by; use "
                "--epoch-choice last."
            )
        count = min(max(1, round(share * people.size)), people.size - 1)
        aside[rng.permutation(people)[:count]] = True
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def folds_to_table(folds: Iterable[Fold], subjects: Sequence[str], comparison: str) -> list[dict[str, str]]:
    """List who is tested where: a row of `FOLD_COLUMNS` for each person and trial.

    `subjects` are keys ``<dataset>/<participant_id>``, shape (n,).
    """
    rows = []
    for fold in folds:
        for place in fold.test:
            dataset, _, participant = subjects[place].rpartition("/")
            values = (comparison, str(fold.trial), str(fold.number), dataset, participant)
            rows.append(dict(zip(FOLD_COLUMNS, values, strict=True)))
    return rows


def folds_from_table(
    rows: Iterable[Mapping[str, Any]], subjects: Sequence[str], labels: ArrayLike, comparison: str
) -> list[Fold]:
    """Make folds from a table such as `folds_to_table` returns; it must fit the comparison's people exactly.

    Rows of other comparisons are passed over. `subjects` and `labels` are key and class of each person, (n,). Folds are
    returned by trial and fold, with their numbers as they stand in the table.

    Raises
    ------
    InputError
        If a column or the comparison is missing, a number is none, somebody is unknown, missing or tested twice in
        a trial, a fold has nobody to test, or a training part lacks a class.
    """
    places = {key: place for place, key in enumerate(subjects)}
    tested: dict[int, dict[int, int]] = {}
    for trial, number, key in _read_rows(rows, comparison):
        if key not in places:
            raise InputError(
                f"--folds-file: {key} is tested in trial {trial} but is not among the people of {comparison}; the file "
                "is of another cohort."
            )
        before = tested.setdefault(trial, {}).setdefault(places[key], number)
        if before != number:
            raise InputError(f"--folds-file: {key} is tested twice in trial {trial}, in folds {before} and {number}.")
    classes = np.asarray(labels, dtype=np.int64)
    return [fold for trial in sorted(tested) for fold in _checked_trial(trial, tested[trial], subjects, classes)]


def _read_rows(rows: Iterable[Mapping[str, Any]], comparison: str) -> Iterator[tuple[int, int, str]]:
    others: set[str] = set()
    found = False
    for row in rows:
        missing = [column for column in FOLD_COLUMNS if column not in row]
        if missing:
            raise InputError(f"--folds-file has no column {missing[0]}; it needs {', '.join(FOLD_COLUMNS)}.")
        if str(row["comparison"]) != comparison:
            others.add(str(row["comparison"]))
            continue
        found = True
        numbers = [str(row["trial"]).strip(), str(row["fold"]).strip()]
        if not all(number.isascii() and number.isdigit() and int(number) > 0 for number in numbers):
            raise InputError(f"--folds-file: trial {numbers[0]!r}, fold {numbers[1]!r}: these are counted from 1.")
        yield int(numbers[0]), int(numbers[1]), f"{row['dataset']}/{row['participant_id']}"
    if not found:
        has = f"; it has {', '.join(sorted(others))}" if others else ""
        raise InputError(f"--folds-file has no row of comparison {comparison!r}{has}.")


def _checked_trial(trial: int, tested: dict[int, int], subjects: Sequence[str], classes: IntArray) -> list[Fold]:
    missing = [key for place, key in enumerate(subjects) if place not in tested]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise InputError(
            f"--folds-file: trial {trial} never tests {', '.join(missing[:_SHOWN])}{more}; every person of the "
            "comparison must be in one of its folds."
        )
    numbers: NDArray[np.int64] = np.array([tested[place] for place in range(len(subjects))], dtype=np.int64)
    present = set(numbers.tolist())
    empty = next((number for number in range(1, max(present) + 1) if number not in present), None)
    if empty is not None or len(present) < 2:
        raise InputError(f"--folds-file: fold {empty or 2} of trial {trial} tests nobody; number the folds 1, 2, 3...")
    folds = _as_folds(trial, numbers)
    for fold in folds:
        if set(classes[fold.train].tolist()) != set(classes.tolist()):
            raise InputError(f"--folds-file: fold {fold.number} of trial {trial} leaves a class nobody to learn from.")
    return folds
