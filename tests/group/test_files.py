from __future__ import annotations

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from migxai.errors import ResourceError
from migxai.evaluation.group_folder import GroupFolder
from migxai.group.files import keep_arrays, work_folder, write_plan
from migxai.group.plan import make_plan, nuisance_table
from migxai.participant.interfaces.base import load_array
from tests.e2e.group_runs import change_map, change_people, copy_maps, map_of, read_table
from tests.group.cohorts import configure
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]


@pytest.fixture(scope="module")
def cohort(map_cohort, tmp_path_factory) -> Path:
    return copy_maps(map_cohort, tmp_path_factory.mktemp("files") / "maps")


@pytest.fixture(scope="module")
def plan(cohort):
    return make_plan(configure(cohort, cohort.parent / "out"))


def test_the_plan_is_written_before_anything_is_computed(plan, cohort, tmp_path):
    config = configure(cohort, tmp_path)
    write_plan(GroupFolder(tmp_path), plan, config)
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
    np.testing.assert_allclose(people["coverage"], plan.roster.people["coverage"])
    classes = read_table(tmp_path / "classes.tsv").set_index("class")
    assert classes.loc["HC", ["A", "B", "all", "smallest_test", "smallest_train"]].tolist() == [4, 3, 7, 3, 3]
    folds = read_table(tmp_path / "folds.tsv")
    assert len(folds) == 2 * 16
    assert set(folds["comparison"]) == {"hc_vs_migraine"}
    assert "sub-" not in (tmp_path / "table1.tsv").read_text()


def test_no_option_that_is_a_path_gets_into_the_description(plan, cohort, tmp_path):
    file = tmp_path / "somewhere" / "weights.pth"
    config = configure(cohort, tmp_path, weights=file, weights_dir=file.parent, folds_file=file)
    write_plan(GroupFolder(tmp_path), plan, config)
    text = (tmp_path / "description.json").read_text()
    assert "somewhere" not in text
    assert json.loads(text)["Options"]["weights"] == "file"


def test_the_work_folder_is_named_by_what_is_computed(plan, cohort, tmp_path):
    config = configure(cohort, tmp_path)
    folder = work_folder(config, plan)
    assert folder.parent == tmp_path / ".work" / "group"
    assert (
        work_folder(configure(cohort, tmp_path, run={"work_dir": tmp_path / "w"}), plan).parent.parent == tmp_path / "w"
    )
    assert work_folder(configure(cohort, tmp_path / "elsewhere"), plan).name == folder.name
    assert work_folder(configure(cohort, tmp_path, run={"nprocs": 7, "mem_gb": 3}), plan).name == folder.name
    others = [configure(cohort, tmp_path, epochs=2), configure(cohort, tmp_path, dropout=0.1)]
    others += [dataclasses.replace(config, random_seed=1)]
    assert len({folder.name, *(work_folder(other, plan).name for other in others)}) == 4


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
def test_a_run_on_other_data_finds_no_results_of_this_one(plan, cohort, tmp_path, change):
    config = configure(shutil.copytree(cohort, tmp_path / "maps"), tmp_path / "out", comparisons=("mine=HC:MWoA",))
    before = work_folder(config, make_plan(config)).name
    change(config.run.bids_dir)
    assert work_folder(config, make_plan(config)).name != before


def test_networks_of_other_weights_get_another_folder(plan, cohort, tmp_path):
    torch = pytest.importorskip("torch")
    deep = dataclasses.replace(plan, models=("resnet18",))
    file = tmp_path / "weights.pth"
    config = configure(cohort, tmp_path, models=("resnet18",), weights=file)
    names = set()
    for value in (0, 1):
        torch.save({"a": torch.full((1,), value)}, file)
        names.add(work_folder(config, deep).name)
    assert len(names) == 2, "the same path, another content"


def test_arrays_are_read_back_as_they_were(plan, tmp_path):
    folder = GroupFolder(tmp_path / "group")
    (arrays,) = keep_arrays(plan, tmp_path / "work", folder).values()
    planes = load_array(arrays.planes)
    assert isinstance(planes, np.memmap)
    np.testing.assert_array_equal(planes, plan.maps["reho"].planes)
    inputs = arrays.inputs()
    np.testing.assert_array_equal(inputs.regions, plan.maps["reho"].regions)
    values, names = nuisance_table(plan.roster.people)
    np.testing.assert_array_equal(inputs.nuisance, values)
    assert inputs.nuisance_names == names
    assert inputs.subjects == tuple(plan.roster.people["key"])
    assert arrays.sites == tuple(plan.roster.people["site"])
    assert not (tmp_path / "group").exists()


def test_a_full_disk_gets_a_sentence(plan, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ResourceError, match=r"is full: template.npz could not be written"):
            keep_arrays(plan, tmp_path / "work", GroupFolder(tmp_path / "group"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "work").iterdir()), "nothing half-written stays"
