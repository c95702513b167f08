from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai.config import Learning
from migxai.data import load_atlas
from migxai.errors import AtlasError, ImageError, InputError, UsageError
from migxai.evaluation.results import GroupFolder
from migxai.group.plan import (
    begin_output,
    common_template,
    datasets,
    make_plan,
    nuisance_table,
    prepare_maps,
    work_folder,
    write_plan,
)
from migxai.learning.estimators import baselines
from migxai.learning.slices import stack
from tests.e2e.group_runs import change_map, change_people, copy_maps, map_of, read_table
from tests.group.cohorts import configure
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]

SHAPE = (33, 39, 33)
AFFINE = np.array([[6.0, 0, 0, -96], [0, 6, 0, -132], [0, 0, 6, -78], [0, 0, 0, 1]])
SPACE = "MNI152NLin2009cAsym"


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
    links = json.loads((begin_output(other) / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"siteB"}
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


@pytest.fixture(scope="module")
def template():
    return common_template(SHAPE, AFFINE, SPACE, Learning(slices=5))


def save(folder, name, values):
    path = folder / f"{name}.nii.gz"
    nib.Nifti1Image(values.astype(np.float32), AFFINE).to_filename(path)
    return path


@pytest.fixture(scope="module")
def ramp(template):
    """A map whose values tell where they were: x in voxels, plus one."""
    x = np.broadcast_to(np.arange(SHAPE[0], dtype=np.float32)[:, None, None], SHAPE)
    return np.where(template.brain, x + 1, 0)


def test_the_template_is_the_same_for_everybody(template):
    assert template.brain.shape == template.labels.shape == SHAPE
    litres = template.brain.sum() * 216 / 1e6
    assert 1.6 < litres < 2.1, "an adult's brain"
    assert len(template.geometry.indices) == 5
    assert template.geometry.heights_mm == tuple(sorted(template.geometry.heights_mm))
    assert set(np.unique(template.labels)) <= {0, *load_atlas().indices}
    centre = tuple(np.round(np.linalg.inv(AFFINE) @ [0, -15, 10, 1]).astype(int)[:3])
    assert template.brain[centre]


def test_an_atlas_of_another_space_is_refused():
    with pytest.raises(AtlasError):
        common_template(SHAPE, AFFINE, "T1w", Learning())
    far = AFFINE.copy()
    far[:3, 3] += 1000
    with pytest.raises(AtlasError, match="does not overlap the brain on the maps' grid"):
        common_template(SHAPE, far, SPACE, Learning())


def test_planes_are_scaled_within_the_brain_and_regions_are_means(template, ramp, tmp_path):
    prepared = prepare_maps("reho", [[save(tmp_path, "a", ramp)]], template)
    assert prepared.planes.shape == (1, 5, *template.geometry.planes_shape)
    assert prepared.planes.min() == 0
    assert 0.5 < prepared.planes.max() <= 1
    assert prepared.fov.tolist() == [1]
    back = stack(prepared.planes[0], template.geometry)
    lower, median, upper = np.percentile(ramp[template.brain], (25, 50, 75))
    low, high = median - 2 * (upper - lower), median + 3 * (upper - lower)
    wanted = np.clip((ramp - low) / (high - low), 0, 1) * template.brain
    cut = np.zeros(SHAPE, dtype=bool)
    cut[:, :, list(template.geometry.indices)] = True
    shown = cut & (back != 0)
    np.testing.assert_allclose(back[shown], wanted[shown], atol=1e-5)
    for place, index in enumerate(template.atlas.indices):
        if not np.isnan(prepared.regions[0, place]):
            inside = (template.labels == index) & (ramp != 0)
            assert prepared.regions[0, place] == pytest.approx(ramp[inside].mean())


def test_what_lies_outside_the_templates_brain_changes_no_slice(template, ramp, tmp_path):
    """Sites mask their maps in different ways."""
    skull = np.where(template.brain, ramp, 500)
    paths = [[save(tmp_path, "bare", ramp)], [save(tmp_path, "unmasked", skull)]]
    prepared = prepare_maps("reho", paths, template)
    np.testing.assert_array_equal(prepared.planes[0], prepared.planes[1])
    assert prepared.fov.tolist() == [1, 1]
    assert prepared.hashes[0] != prepared.hashes[1]


def test_missing_parts_lower_the_coverage_and_leave_regions_out(template, ramp, tmp_path):
    upper = np.where(np.arange(SHAPE[2]) < 13, 0, ramp)
    prepared = prepare_maps("reho", [[save(tmp_path, "a", ramp)], [save(tmp_path, "b", upper)]], template)
    share = (template.brain & (upper != 0)).sum() / template.brain.sum()
    assert prepared.fov[1] == pytest.approx(share)
    assert np.isnan(prepared.regions[1]).sum() > np.isnan(prepared.regions[0]).sum()
    whole = ~np.isnan(prepared.regions[1])
    np.testing.assert_allclose(prepared.regions[1, whole], prepared.regions[0, whole], rtol=0.1)


def test_an_indicator_of_regions_need_not_cover_more_than_those(template, tmp_path):
    path = [save(tmp_path, "a", np.where(template.brain, template.labels, 0))]
    prepared = prepare_maps("rfcs", [path], template)
    assert prepared.fov.tolist() == [1]
    (share,) = prepare_maps("reho", [path], template).fov
    assert 0.5 < share < 0.95
    known = ~np.isnan(prepared.regions[0])
    np.testing.assert_allclose(prepared.regions[0][known], np.asarray(template.atlas.indices)[known])


def test_several_runs_of_a_person_are_one_row(template, ramp, tmp_path):
    paths = [save(tmp_path, "run-1", ramp), save(tmp_path, "run-2", 3 * ramp)]
    both = prepare_maps("reho", [paths], template)
    mean = prepare_maps("reho", [[save(tmp_path, "mean", 2 * ramp)]], template)
    assert len(both.planes) == 1
    np.testing.assert_allclose(both.planes, mean.planes, atol=1e-5)
    np.testing.assert_allclose(both.regions, mean.regions, rtol=1e-5)


def test_a_map_that_tells_nobody_apart_is_named(template, tmp_path):
    flat = np.where(template.brain, 2.0, 0)
    flat[tuple(np.argwhere(template.brain)[0])] = 3
    with pytest.raises(ImageError, match=r"^odd\.nii\.gz: The map is constant"):
        prepare_maps("reho", [[save(tmp_path, "odd", flat)]], template)
    outside = np.where(template.brain, 0, np.arange(np.prod(SHAPE)).reshape(SHAPE))
    with pytest.raises(ImageError, match=r"^odd\.nii\.gz: The map holds no number inside the brain"):
        prepare_maps("reho", [[save(tmp_path, "odd", outside)]], template)


def test_some_people_can_be_kept(template, ramp, tmp_path):
    paths = [[save(tmp_path, str(factor), factor * ramp**factor)] for factor in (1, 2, 3)]
    prepared = prepare_maps("reho", paths, template)
    kept = prepared.keep(np.array([2, 0]))
    np.testing.assert_array_equal(kept.planes, prepared.planes[[2, 0]])
    np.testing.assert_array_equal(kept.regions, prepared.regions[[2, 0]])
    assert kept.hashes == (prepared.hashes[2], prepared.hashes[0])


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
