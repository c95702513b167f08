from __future__ import annotations

import dataclasses
import json
import resource

import numpy as np
import pytest

from migxai.config import Learning
from migxai.errors import InputError, ResourceError, UsageError
from migxai.evaluation.results import GroupFolder
from migxai.group import features
from migxai.group.features import FeatureJob, check_networks, keep_arrays
from migxai.group.plan import make_plan, nuisance_table
from migxai.learning.feature_store import make_feature_spec
from tests.e2e.group_runs import copy_maps
from tests.group.cohorts import configure, make_arrays, make_workspace, plan_comparison, sketch_plan
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]

SETTINGS = Learning(weights="random", augmentations=1, precision="fp32")
MODEL = "resnet18"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The features of three people, made by one job."""
    pytest.importorskip("torch", reason="features need migxai[torch]")
    arrays = make_arrays(tmp_path_factory.mktemp("features"), people=3)
    extract(arrays, [0, 1, 2])
    (folder,) = arrays.features.iterdir()
    return arrays, folder.name


def extract(arrays, rows, seed=0):
    workspace = make_workspace(arrays, SETTINGS, seed=seed)
    FeatureJob(name="features", workspace=workspace, model=MODEL, indicator="reho", rows=tuple(rows)).run()


def read_inputs(arrays, model=MODEL):
    return make_workspace(arrays, SETTINGS).inputs(model, "reho")


def stored(arrays):
    return sorted(arrays.features.rglob("*.npy"))


def test_features_lie_in_a_folder_named_by_how_they_were_made(made):
    arrays, key = made
    assert len(stored(arrays)) == 3
    assert {path.parent.name for path in stored(arrays)} == {key}
    about = json.loads(stored(arrays)[0].with_suffix(".json").read_text())
    assert about["subject"] == "made/sub-01"
    assert about["map"] == arrays.hashes[0]


def test_what_is_there_is_not_made_again(made, tmp_path, monkeypatch):
    arrays, key = made
    before = [path.stat().st_mtime_ns for path in stored(arrays)]
    monkeypatch.setattr("migxai.learning.backbone.make_backbone", None)  # the network is not even built
    extract(arrays, [0, 1, 2])
    assert {path.parent.name for path in stored(arrays)} == {key}
    assert [path.stat().st_mtime_ns for path in stored(arrays)] == before


def test_the_same_people_one_by_one_get_the_same_bytes(made, tmp_path):
    arrays, _ = made
    apart = dataclasses.replace(arrays, features=tmp_path / "apart")
    for row in (2, 0, 1):
        extract(apart, [row])
    assert [path.read_bytes() for path in stored(apart)] == [path.read_bytes() for path in stored(arrays)]


def test_a_change_of_the_map_or_the_seed_makes_others(made, tmp_path):
    arrays, key = made
    other = dataclasses.replace(arrays, hashes=("f" * 16, *arrays.hashes[1:]), features=tmp_path)
    extract(other, [0])
    assert [path.parent.name for path in stored(other)] == [key]
    assert stored(other)[0].name != stored(arrays)[0].name
    extract(dataclasses.replace(arrays, features=tmp_path), [0], seed=1)
    assert len({path.parent.name for path in stored(other)}) == 2


def test_models_get_the_store_they_need(made):
    arrays, key = made
    assert read_inputs(arrays, "svm").store is None
    assert read_inputs(arrays).subjects == arrays.subjects
    store = read_inputs(arrays).store
    assert (store.key, store.slices, store.views, store.subjects) == (key, 2, 1, arrays.subjects)


def test_missing_and_damaged_features_are_named(made, tmp_path):
    arrays, _ = made
    few = dataclasses.replace(arrays, features=tmp_path / "store")
    extract(few, [0, 1])
    with pytest.raises(InputError, match="nothing of this map of made/sub-03"):
        read_inputs(few)
    extract(few, [2])
    path = stored(few)[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name} are damaged .* it is made again"):
        read_inputs(few)
    with pytest.raises(InputError, match=f"{path.name} are damaged"):
        extract(few, [0, 1, 2])
    path.unlink()
    path.with_suffix(".json").unlink()
    extract(few, [0, 1, 2])
    assert np.array_equal(np.load(path), np.load(stored(arrays)[1]))


@pytest.fixture(scope="module")
def plan(map_cohort, tmp_path_factory):
    dataset = copy_maps(map_cohort, tmp_path_factory.mktemp("maps") / "maps")
    return make_plan(configure(dataset, dataset.parent / "out"))


def test_arrays_are_read_back_as_they_were(plan, tmp_path):
    folder = GroupFolder(tmp_path / "group")
    (arrays,) = keep_arrays(plan, tmp_path / "work", folder).values()
    planes = arrays.read_planes()
    assert isinstance(planes, np.memmap)
    np.testing.assert_array_equal(planes, plan.maps["reho"].planes)
    inputs = arrays.inputs()
    np.testing.assert_array_equal(inputs.regions, plan.maps["reho"].regions)
    values, names = nuisance_table(plan.cohort.people)
    np.testing.assert_array_equal(inputs.nuisance, values)
    assert inputs.nuisance_names == names
    assert inputs.subjects == tuple(plan.cohort.people["key"])
    assert arrays.sites == tuple(plan.cohort.people["site"])
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


@pytest.fixture
def networks(tmp_path):
    pytest.importorskip("torch")
    arrays = make_arrays(tmp_path / "arrays")
    return sketch_plan(arrays, models=("resnet18", "svm"), comparisons=(plan_comparison(),), indicators=("reho",))


def test_features_that_are_missing_are_counted(networks, tmp_path, monkeypatch):
    config, folder = configure(tmp_path, tmp_path), tmp_path / "features"
    (line,) = check_networks(networks, config, folder)
    assert line.startswith("resnet18: features of 12 of 12 maps are to be made")
    spec = make_feature_spec("resnet18", config.learning, networks.template.geometry, config.random_seed)
    path = spec.path(folder, networks.cohort.people["key"][0], networks.maps["reho"].hashes[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    (line,) = check_networks(networks, config, folder)
    assert line.startswith("resnet18: features of 11 of 12 maps")
    monkeypatch.setattr(features, "free_gb", lambda _: 1e-6)
    with pytest.raises(ResourceError, match="GB are free where the output lies"):
        check_networks(networks, config, folder)
    assert check_networks(sketch_plan(models=("svm",)), config, folder) == []


def test_weights_are_tried_before_anything_is_computed_with_them(networks, tmp_path):
    import torch

    file = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not fit resnet18"):
        check_networks(networks, configure(tmp_path, tmp_path, weights=file), tmp_path / "features")


def test_maps_that_no_network_can_have_are_refused(networks, tmp_path):
    config = configure(tmp_path, tmp_path).replace("explaining", cam=("attention",))
    with pytest.raises(UsageError, match="--cam attention fits none of resnet18"):
        check_networks(networks, config, tmp_path / "features")
    assert check_networks(networks, config.replace("explaining", explain=False), tmp_path / "features")


def test_a_gpu_that_is_not_there_is_told_before_anything_is_computed(networks, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = configure(tmp_path, tmp_path, device="cuda")
    with pytest.raises(UsageError, match="--device cuda was given"):
        check_networks(networks, config, tmp_path / "features")
    (line,) = check_networks(networks, configure(tmp_path, tmp_path, device="auto"), tmp_path / "features")
    assert line.endswith("GB, on the CPU.")
    elsewhere = config.replace("run", use_plugin=tmp_path / "slurm.yml")
    assert len(check_networks(networks, elsewhere, tmp_path / "features")) == 1


def test_arrays_of_these_tests_are_what_jobs_read(tmp_path):
    inputs = make_arrays(tmp_path).inputs()
    assert inputs.nuisance_names == ("age", "mean_fd")
    assert np.isfinite(inputs.regions).all()
