from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from migxai.errors import InputError, UsageError
from migxai.learning.splits import FOLD_COLUMNS, folds_from_table, folds_to_table, inner_split, make_folds

KFOLD = {"cv": "kfold", "folds": 5, "trials": 4, "seed": 1}


@st.composite
def cohorts(draw):
    """Labels and sites of a cohort that can be split into the folds that come with it."""
    folds = draw(st.integers(2, 6))
    classes = draw(st.integers(2, 3))
    count = draw(st.integers(folds * classes, 60))
    labels = list(range(classes)) * folds
    labels += draw(st.lists(st.integers(0, classes - 1), min_size=count - len(labels), max_size=count - len(labels)))
    sites = draw(st.lists(st.sampled_from(["A", "B", "C", "D"]), min_size=count, max_size=count))
    order = draw(st.permutations(range(count)))
    return np.array(labels)[order], sites, folds


def spread(values) -> int:
    return int(max(values) - min(values))


@given(cohorts(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_trial_is_a_partition_balanced_by_class_and_site(cohort, seed):
    labels, sites, folds = cohort
    made, _ = make_folds(labels, sites, cv="kfold", folds=folds, trials=3, seed=seed)
    assert [(fold.trial, fold.number) for fold in made] == [(t, f) for t in (1, 2, 3) for f in range(1, folds + 1)]
    for trial in (1, 2, 3):
        parts = [fold for fold in made if fold.trial == trial]
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in parts])), np.arange(len(labels)))
        for fold in parts:
            assert not set(fold.train) & set(fold.test)
            assert len(fold.train) + len(fold.test) == len(labels)
            assert set(labels[fold.train]) == set(labels[fold.test]) == set(labels)
        assert spread([len(fold.test) for fold in parts]) <= 1
        for place in set(labels):
            assert spread([(labels[fold.test] == place).sum() for fold in parts]) <= 1
            for site in set(sites):
                cell = (labels == place) & (np.array(sites) == site)
                assert spread([cell[fold.test].sum() for fold in parts]) <= 1


@given(cohorts(), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_one_seed_decides_and_trials_do_not_depend_on_how_many_follow(cohort, seed):
    labels, sites, folds = cohort
    few, _ = make_folds(labels, sites, cv="kfold", folds=folds, trials=2, seed=seed)
    many, _ = make_folds(labels, sites, cv="kfold", folds=folds, trials=4, seed=seed)
    for first, second in zip(few, many, strict=False):
        np.testing.assert_array_equal(first.test, second.test)


def test_trials_and_seeds_differ():
    labels, sites = np.arange(40) % 2, ["A"] * 40
    parts = {}
    for seed in (1, 2):
        made, messages = make_folds(labels, sites, **KFOLD | {"seed": seed})
        for fold in made:
            parts.setdefault((seed, fold.trial), set()).add(tuple(fold.test))
        assert not messages
    assert len({frozenset(part) for part in parts.values()}) == 8


def test_classes_are_spread_as_scikit_learn_spreads_them():
    labels = np.repeat([0, 1, 2], [28, 21, 15])
    ours, _ = make_folds(labels, ["A"] * 64, **KFOLD)
    theirs = StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)
    counted = [Counter(labels[test].tolist()) for _, test in theirs]
    for trial in (1, 2, 3, 4):
        of_trial = [Counter(labels[fold.test].tolist()) for fold in ours if fold.trial == trial]
        for place in (0, 1, 2):
            assert sorted(item[place] for item in of_trial) == sorted(item[place] for item in counted)


def test_sites_are_spread_over_classes_too():
    labels = np.tile([0, 0, 1, 1], 10)  # ten sites, with two people of each class
    sites = np.repeat([f"site{number}" for number in range(10)], 4)
    made, messages = make_folds(labels, sites, **KFOLD)
    assert "fewer people (2) than there are folds (5)" in messages[0]
    # In each of four trials all ten sites could have two of their four people in one fold, twice over.
    assert sum(Counter(sites[fold.test])[site] > 1 for fold in made for site in set(sites)) <= 8


def test_too_few_people_are_a_sentence():
    labels = [0] * 10 + [1] * 4
    with pytest.raises(InputError, match=r"\(HC 10, MWA 4\): each needs at least 5 for 5 folds; use fewer --folds"):
        make_folds(labels, ["A"] * 14, **KFOLD, names=("HC", "MWA"))
    with pytest.raises(InputError, match=r"\(0 2, 1 1\): each needs at least 2"):
        make_folds([0, 0, 1], ["A"] * 3, **KFOLD | {"cv": "leave-one-out"})
    with pytest.raises(InputError, match="two classes"):
        make_folds([0] * 9, ["A"] * 9, **KFOLD)
    for key in ("folds", "trials"):
        with pytest.raises(UsageError, match=f"--{key}"):
            make_folds(labels, ["A"] * 14, **KFOLD | {key: 0})


def test_trials_that_cannot_differ_are_said():
    made, messages = make_folds([0, 0, 1, 1], ["A"] * 4, **KFOLD | {"folds": 2})
    assert len(made) == 8
    assert any("Trial 3 has the folds of trial" in text for text in messages)


def test_leaving_one_out_tests_everyone_alone_once():
    labels = [0, 1, 0, 1, 1]
    made, messages = make_folds(labels, ["A"] * 5, **KFOLD | {"cv": "leave-one-out"})
    assert [fold.test.tolist() for fold in made] == [[0], [1], [2], [3], [4]]
    assert made[0].train.tolist() == [1, 2, 3, 4]
    assert messages == ["leave-one-out can be done in one way only: one trial, not 4."]
    assert make_folds(labels, ["A"] * 5, **KFOLD | {"cv": "leave-one-out", "trials": 1})[1] == []


def test_leaving_sites_out_tests_each_site():
    labels = np.array([0, 1, 0, 1, 0, 0])
    sites = ["B", "B", "A", "A", "C", "C"]
    made, messages = make_folds(labels, sites, **KFOLD | {"cv": "leave-one-site-out", "trials": 1}, names=("HC", "MWA"))
    assert [fold.test.tolist() for fold in made] == [[2, 3], [0, 1], [4, 5]]
    assert messages == ["Site 'C' has nobody of class MWA."]


def test_sites_that_cannot_be_left_out_are_a_sentence():
    options = KFOLD | {"cv": "leave-one-site-out"}
    with pytest.raises(UsageError, match=r"there is one, 'A': name the column by --site-column"):
        make_folds([0, 1], ["A", "A"], **options)
    with pytest.raises(UsageError, match=r"everyone of class MWA is from site 'B'"):
        make_folds([0, 0, 1, 0], ["A", "A", "B", "B"], **options, names=("HC", "MWA"))


@given(cohorts(), st.integers(0, 2**32), st.floats(0.05, 0.5))
@settings(max_examples=40, deadline=None)
def test_the_inner_split_is_stratified(cohort, seed, share):
    labels, _, _ = cohort
    fit, aside = inner_split(labels, seed, share)
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, aside])), np.arange(len(labels)))
    np.testing.assert_array_equal(aside, inner_split(labels, seed, share)[1])
    for place in set(labels):
        count, total = (labels[aside] == place).sum(), (labels == place).sum()
        assert 1 <= count < total
        assert abs(count - share * total) <= 1


def test_a_class_of_one_cannot_be_split():
    with pytest.raises(InputError, match="--epoch-choice last"):
        inner_split([0, 0, 0, 1], 0)


LABELS = np.array([0, 1] * 6)
SUBJECTS = [f"site {place % 2}/sub-{place:02d}" for place in range(12)]


def rows() -> list[dict[str, str]]:
    made, _ = make_folds(LABELS, ["A"] * 12, cv="kfold", folds=3, trials=2, seed=0)
    return folds_to_table(made, SUBJECTS, "x")


def test_folds_come_back_from_their_table():
    made, _ = make_folds(LABELS, ["A"] * 12, cv="kfold", folds=3, trials=2, seed=0)
    table = rows()
    assert len(table) == 24
    assert tuple(table[0]) == FOLD_COLUMNS
    assert {row["dataset"] for row in table} == {"site 0", "site 1"}
    back = folds_from_table([*table, {**table[0], "comparison": "other"}], SUBJECTS, LABELS, "x")
    assert len(back) == len(made)
    for first, second in zip(made, back, strict=True):
        assert (first.trial, first.number) == (second.trial, second.number)
        np.testing.assert_array_equal(first.train, second.train)
        np.testing.assert_array_equal(first.test, second.test)


def changed(place: int, **values: str) -> list[dict[str, str]]:
    table = rows()
    table[place] = table[place] | values
    return table


def folds_of(participant: str, fold: str) -> list[dict[str, str]]:
    """The table with somebody in one more fold of the first trial."""
    table = rows()
    own = next(row for row in table if row["participant_id"] == participant and row["trial"] == "1")
    return [*table, own | {"fold": fold if own["fold"] != fold else "2"}]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (changed(0, participant_id="sub-99"), r"sub-99 is tested in trial 1 but is not among"),
        (rows()[1:], r"trial 1 never tests site \d/sub-\d\d; every person"),
        (folds_of("sub-03", "1"), r"site 1/sub-03 is tested twice in trial 1"),
        (
            [row | {"fold": "4" if row["fold"] == "2" else row["fold"]} for row in rows()],
            "fold 2 of trial 1 tests nobo",
        ),
        ([row | {"fold": "1"} for row in rows()], "fold 2 of trial 1 tests nobody"),
        ([row | {"comparison": "y"} for row in rows()], r"no row of comparison 'x'; it has y"),
        ([], "no row of comparison 'x'."),
        ([{"trial": "1"}], "no column comparison"),
        (changed(3, fold="first"), "counted from 1"),
        (changed(3, trial="0"), "counted from 1"),
        (
            [row | {"fold": "1" if int(row["participant_id"][4:]) % 2 else "2"} for row in rows()],
            "leaves a class nobody to learn from",
        ),
    ],
)
def test_folds_of_another_cohort_are_a_sentence(table, says):
    with pytest.raises(InputError, match=says):
        folds_from_table(table, SUBJECTS, LABELS, "x")


def test_pandas_is_not_needed():
    code = "import sys, migxai.learning.splits; sys.exit(any(m in sys.modules for m in ('pandas', 'torch', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
