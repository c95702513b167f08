from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from migxai.errors import InputError, UsageError
from migxai.evaluation.results import GroupFolder
from migxai.group.plan import datasets, make_plan, sources, work_folder, write_plan
from migxai.learning.estimators import baselines
from tests.e2e.group_runs import change_map, change_people, copy_maps, map_of, read_table
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
    assert len(plan.cohort.people) == 16
    assert plan.maps["reho"].planes.shape[:2] == (16, 4)
    assert plan.maps["reho"].regions.shape == (16, 116)
    (task,) = plan.comparisons
    groups = plan.cohort.people["group"].iloc[task.people]
    assert [task.comparison.labels[label] for label in task.labels] == [
        "HC" if group == "HC" else "MWoA+MWA" for group in groups
    ]
    assert [(fold.trial, fold.number) for fold in task.folds] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for fold in task.folds:
        assert sorted([*fold.train, *fold.test]) == list(range(16))
    assert plan.cohort.people["coverage"].tolist() == plan.maps["reho"].fov.tolist()


def test_a_comparison_takes_its_people_only_and_folds_are_its_own(cohort, tmp_path):
    config = configure(cohort, tmp_path, comparisons=("mwoa_vs_mwa", "hc_vs_migraine"))
    small, whole = make_plan(config).comparisons
    assert small.people.tolist() != list(range(16))
    assert max(place for fold in small.folds for place in fold.test) == len(small.people) - 1
    alone = make_plan(configure(cohort, tmp_path)).comparisons[0]
    for fold, other in zip(whole.folds, alone.folds, strict=True):
        np.testing.assert_array_equal(fold.test, other.test)
    assert not (tmp_path / "group").exists(), "planning writes nothing"


def test_folds_of_a_file_take_the_place_of_drawn_ones(cohort, tmp_path, plan):
    keys = plan.cohort.people["key"]
    rows = [
        {"comparison": "hc_vs_migraine", "trial": 1, "fold": 1 + place % 2}
        | dict(zip(("dataset", "participant_id"), key.split("/"), strict=True))
        for place, key in enumerate(keys)
    ]
    file = tmp_path / "folds.tsv"
    pd.DataFrame(rows).to_csv(file, sep="\t", index=False)
    again = make_plan(configure(cohort, tmp_path, folds_file=file))
    assert [fold.test.tolist() for fold in again.comparisons[0].folds] == [list(range(0, 16, 2)), list(range(1, 16, 2))]
    assert any("folds.tsv" in message for message in again.messages)


def test_a_map_with_too_little_of_the_brain_leaves_its_owner_out(dataset, tmp_path):
    def upper_half(values):
        return np.where(np.arange(values.shape[2]) < 30, 0, values)

    change_map(map_of(dataset, "02"), upper_half)
    plan = make_plan(configure(dataset, tmp_path))
    assert len(plan.cohort.people) == len(plan.maps["reho"].planes) == len(plan.maps["reho"].hashes) == 15
    (left,) = plan.cohort.left_out.to_dict("records")
    assert left["participant_id"] == "sub-02"
    assert "of the template's brain, less than --min-fov 80%" in left["reason"]
    assert all(fold.train.max() < 15 for fold in plan.comparisons[0].folds)
    everybody = make_plan(configure(dataset, tmp_path, min_fov=0.1))
    assert len(everybody.cohort.people) == 16
    assert everybody.cohort.people["coverage"].iloc[1] == pytest.approx(everybody.maps["reho"].fov[1])
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
    assert len(make_plan(configure(raw, dataset)).cohort.people) == 16
    config = configure(raw, tmp_path / "out", run={"derivatives": (("siteB", dataset),)})
    with pytest.raises(InputError, match="siteB has no column 'group'"):
        make_plan(config)


@pytest.fixture(scope="module")
def written(cohort):
    """A plan of the quick run."""
    return make_plan(configure(cohort, cohort.parent / "out"))


def test_the_plan_is_written_before_anything_is_computed(written, cohort, tmp_path):
    config = configure(cohort, tmp_path)
    write_plan(GroupFolder(tmp_path), written, config)
    described = json.loads((tmp_path / "description.json").read_text())
    assert described["State"] == "running"
    assert described["Comparisons"] == {"hc_vs_migraine": ["HC", "MWoA+MWA"]}
    assert described["Groups"]["hc_vs_migraine"] == {"HC": ["HC"], "MWoA+MWA": ["MWoA", "MWA"]}
    assert described["Models"] == ["svm", "majority", "nuisance"]
    assert described["Options"]["slices"] == 4
    assert (described["People"], described["LeftOut"]) == (16, 0)
    assert str(cohort) not in json.dumps(described)
    people = read_table(tmp_path / "cohort.tsv")
    assert people["class_hc_vs_migraine"].value_counts().to_dict() == {"HC": 7, "MWoA+MWA": 9}
    np.testing.assert_allclose(people["coverage"], written.cohort.people["coverage"])
    classes = read_table(tmp_path / "classes.tsv").set_index("class")
    assert classes.loc["HC", ["A", "B", "all", "smallest_test", "smallest_train"]].tolist() == [4, 3, 7, 3, 3]
    folds = read_table(tmp_path / "folds.tsv")
    assert len(folds) == 2 * 16
    assert set(folds["comparison"]) == {"hc_vs_migraine"}
    assert "sub-" not in (tmp_path / "table1.tsv").read_text()


def test_no_option_that_is_a_path_gets_into_the_description(written, cohort, tmp_path):
    file = tmp_path / "somewhere" / "weights.pth"
    config = configure(cohort, tmp_path, weights=file, weights_dir=file.parent, folds_file=file)
    write_plan(GroupFolder(tmp_path), written, config)
    text = (tmp_path / "description.json").read_text()
    assert "somewhere" not in text
    assert json.loads(text)["Options"]["weights"] == "file"


def test_the_work_folder_is_named_by_what_is_computed(written, cohort, tmp_path):
    config = configure(cohort, tmp_path)
    folder = work_folder(config, written)
    assert folder.parent == tmp_path / ".work" / "group"
    assert (
        work_folder(configure(cohort, tmp_path, run={"work_dir": tmp_path / "w"}), written).parent.parent
        == tmp_path / "w"
    )
    assert work_folder(configure(cohort, tmp_path / "elsewhere"), written).name == folder.name
    assert work_folder(configure(cohort, tmp_path, run={"nprocs": 7, "mem_gb": 3}), written).name == folder.name
    others = [configure(cohort, tmp_path, epochs=2), configure(cohort, tmp_path, dropout=0.1)]
    others += [dataclasses.replace(config, random_seed=1)]
    assert len({folder.name, *(work_folder(other, written).name for other in others)}) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda data: change_map(map_of(data, "01"), lambda values: values * np.float32(1.5)),
        lambda data: change_people(data, lambda table: table.assign(age=table["age"] + 1)),
        lambda data: change_people(data, lambda table: table.assign(site=table["site"].replace("A", "C"))),
        lambda data: change_people(data, lambda table: table.assign(group=table["group"].replace("MWA", "MWoA"))),
        lambda data: change_people(data, lambda table: table[table["participant_id"] != "sub-16"]),
    ],
)
def test_a_run_on_other_data_finds_no_results_of_this_one(written, cohort, tmp_path, change):
    config = configure(shutil.copytree(cohort, tmp_path / "maps"), tmp_path / "out", comparisons=("mine=HC:MWoA",))
    before = work_folder(config, make_plan(config)).name
    change(config.run.bids_dir)
    assert work_folder(config, make_plan(config)).name != before


def test_networks_of_other_weights_get_another_folder(written, cohort, tmp_path):
    torch = pytest.importorskip("torch")
    deep = dataclasses.replace(written, models=("resnet18",))
    file = tmp_path / "weights.pth"
    config = configure(cohort, tmp_path, models=("resnet18",), weights=file)
    names = set()
    for value in (0, 1):
        torch.save({"a": torch.full((1,), value)}, file)
        names.add(work_folder(config, deep).name)
    assert len(names) == 2, "the same path, another content"
