from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from migxai.errors import InputError, UsageError
from migxai.group.plan import datasets, make_plan, nuisance_table, sources
from migxai.learning.estimators import baselines
from tests.e2e.group_runs import change_map, change_people, copy_maps, map_of
from tests.group.cohorts import configure
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]


@pytest.fixture(scope="module")
def cohort(map_cohort, tmp_path_factory) -> Path:
    return copy_maps(map_cohort, tmp_path_factory.mktemp("planned") / "maps")


@pytest.fixture(scope="module")
def plan(cohort, tmp_path_factory):
    return make_plan(configure(cohort, tmp_path_factory.mktemp("out"), models=("rf", "svm", "rf")))


@pytest.fixture
def dataset(cohort, tmp_path) -> Path:
    return shutil.copytree(cohort, tmp_path / "maps")


def test_a_plan_is_aligned_from_people_to_folds(plan):
    assert plan.models == ("rf", "svm", *baselines())
    assert len(plan.roster.people) == 16
    assert plan.maps["reho"].planes.shape[:2] == (16, 4)
    assert plan.maps["reho"].regions.shape == (16, 116)
    (task,) = plan.tasks
    groups = plan.roster.people["group"].iloc[task.people]
    assert [task.comparison.labels[label] for label in task.labels] == [
        "HC" if group == "HC" else "MWoA+MWA" for group in groups
    ]
    assert [(fold.trial, fold.number) for fold in task.folds] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for fold in task.folds:
        assert sorted([*fold.train, *fold.test]) == list(range(16))
    assert plan.roster.people["coverage"].tolist() == plan.maps["reho"].fov.tolist()


def test_a_comparison_takes_its_people_only_and_folds_are_its_own(cohort, tmp_path):
    config = configure(cohort, tmp_path, comparisons=("mwoa_vs_mwa", "hc_vs_migraine"))
    small, whole = make_plan(config).tasks
    assert small.people.tolist() != list(range(16))
    assert max(place for fold in small.folds for place in fold.test) == len(small.people) - 1
    alone = make_plan(configure(cohort, tmp_path)).tasks[0]
    for fold, other in zip(whole.folds, alone.folds, strict=True):
        np.testing.assert_array_equal(fold.test, other.test)
    assert not (tmp_path / "group").exists(), "planning writes nothing"


def test_folds_of_a_file_take_the_place_of_drawn_ones(cohort, tmp_path, plan):
    keys = plan.roster.people["key"]
    rows = [
        {"comparison": "hc_vs_migraine", "trial": 1, "fold": 1 + place % 2}
        | dict(zip(("dataset", "participant_id"), key.split("/"), strict=True))
        for place, key in enumerate(keys)
    ]
    file = tmp_path / "folds.tsv"
    pd.DataFrame(rows).to_csv(file, sep="\t", index=False)
    again = make_plan(configure(cohort, tmp_path, folds_file=file))
    assert [fold.test.tolist() for fold in again.tasks[0].folds] == [list(range(0, 16, 2)), list(range(1, 16, 2))]
    assert any("folds.tsv" in message for message in again.messages)


def test_a_map_with_too_little_of_the_brain_leaves_its_owner_out(dataset, tmp_path):
    def upper_half(values):
        return np.where(np.arange(values.shape[2]) < 30, 0, values)

    change_map(map_of(dataset, "02"), upper_half)
    plan = make_plan(configure(dataset, tmp_path))
    assert len(plan.roster.people) == len(plan.maps["reho"].planes) == len(plan.maps["reho"].hashes) == 15
    (left,) = plan.roster.left_out.to_dict("records")
    assert left["participant_id"] == "sub-02"
    assert "of the template's brain, less than --min-fov 80%" in left["reason"]
    assert all(fold.train.max() < 15 for fold in plan.tasks[0].folds)
    everybody = make_plan(configure(dataset, tmp_path, min_fov=0.1))
    assert len(everybody.roster.people) == 16
    assert everybody.roster.people["coverage"].iloc[1] == pytest.approx(everybody.maps["reho"].fov[1])
    with pytest.raises(InputError, match=r"the best covers \d+%\); lower --min-fov"):
        make_plan(configure(dataset, tmp_path, min_fov=1.0000001))


def test_what_cannot_be_divided_is_refused_before_maps_are_read(dataset, tmp_path):
    for path in dataset.rglob("*_boldmap.nii.gz"):
        path.write_bytes(path.name.encode())
    with pytest.raises(InputError, match="Too few people in a class"):
        make_plan(configure(dataset, tmp_path, folds=8))
    with pytest.raises(InputError, match="cannot be read"):
        make_plan(configure(dataset, tmp_path))


def test_names_without_a_space_are_taken_for_the_templates(dataset, tmp_path):
    for path in dataset.rglob("*_space-*"):
        path.rename(path.with_name(path.name.replace("_space-MNI152NLin2009cAsym", "")))
    plan = make_plan(configure(dataset, tmp_path))
    assert any("taken to be in MNI152NLin2009cAsym" in message for message in plan.messages)


def test_unknown_models_are_refused_first(tmp_path):
    with pytest.raises(UsageError, match="no model 'svn'"):
        make_plan(configure(tmp_path / "gone", tmp_path, models=("svn",)))


def test_maps_are_looked_for_in_the_dataset_then_in_the_output(cohort, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    assert datasets(configure(cohort, tmp_path)) == [(None, cohort)]
    assert datasets(configure(raw, cohort)) == [(None, cohort)]
    other = configure(raw, tmp_path / "out", run={"derivatives": (("siteB", cohort),)})
    assert datasets(other) == [("siteB", cohort)]
    assert [(item.link, item.root) for item in sources(other)] == [("siteB", cohort)]
    with pytest.raises(InputError, match="Neither raw nor out holds indicator maps"):
        datasets(configure(raw, tmp_path / "out"))


def test_another_sites_people_get_no_labels_of_the_raw_dataset(dataset, tmp_path):
    """sub-01 of a site given with -d is not sub-01 of bids_dir."""
    raw = tmp_path / "raw"
    raw.mkdir()
    shutil.copyfile(dataset / "participants.tsv", raw / "participants.tsv")
    change_people(dataset, lambda table: table.drop(columns="group"))
    assert len(make_plan(configure(raw, dataset)).roster.people) == 16
    config = configure(raw, tmp_path / "out", run={"derivatives": (("siteB", dataset),)})
    with pytest.raises(InputError, match="siteB has no column 'group'"):
        make_plan(config)


def test_nuisance_variables_are_numbers_and_one_column_a_value():
    people = pd.DataFrame(
        {
            "mean_fd": [0.1, None, 0.3],
            "coverage": [1.0, 0.9, 0.8],
            "age": ["30", "n/a", "50"],
            "sex": ["F", "M", None],
            "site": ["A", "B", "B"],
            "group": ["x", "y", "x"],
        }
    )
    values, names = nuisance_table(people)
    assert names == ("mean_fd", "coverage", "age", "sex=F", "sex=M", "site=A", "site=B")
    expected = [[0.1, 1, 30, 1, 0, 1, 0], [np.nan, 0.9, np.nan, 0, 1, 0, 1], [0.3, 0.8, 50, np.nan, np.nan, 0, 1]]
    np.testing.assert_allclose(values, expected)
    values, names = nuisance_table(people[["group"]])
    assert (values.shape, names) == ((3, 0), ())
