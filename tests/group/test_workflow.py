from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from migxai.errors import InputError, ResourceError, UsageError
from migxai.group import workflow as group
from tests.group.cohorts import configure, make_arrays, make_task

MODELS = ("svm", "googlenet", "majority", "nuisance")


def a_plan(arrays=None, *, models=MODELS, tasks=None, indicators=("alff", "reho")):
    """The parts of a plan that units and networks depend on."""
    maps = {name: SimpleNamespace(hashes=arrays.hashes if arrays else ()) for name in indicators}
    return SimpleNamespace(
        maps=maps,
        models=models,
        tasks=tasks or (make_task(), make_task("mwoa_vs_mwa")),
        template=SimpleNamespace(geometry=arrays.geometry if arrays else None),
        roster=SimpleNamespace(people=pd.DataFrame({"key": arrays.subjects if arrays else ()})),
    )


def test_units_are_all_models_indicators_comparisons_and_trials(tmp_path):
    units = group.make_units(a_plan(), configure(tmp_path, tmp_path))
    assert len({unit.name for unit in units}) == len(units)
    tested = [unit for unit in units if unit.folds]
    assert len(tested) == 4 * 2 * 2 * 2
    assert all(len({fold.trial for fold in unit.folds}) == 1 for unit in tested)
    everybody = [unit for unit in units if unit.folds is None]
    assert len(everybody) == 2 * 2 * 2, "of the models asked for; the baselines that always run are not kept"
    assert {unit.model for unit in everybody} == {"svm", "googlenet"}
    deep = [unit.model == "googlenet" for unit in units]
    assert deep == sorted(deep, reverse=True), "what takes longest begins first"
    assert {unit.model for unit in units if unit.keep and unit.folds} == {"svm", "googlenet"}


@pytest.mark.parametrize(("saved", "kept", "everybody"), [("folds", True, 1), ("final", False, 1), ("none", False, 0)])
def test_which_models_are_kept(tmp_path, saved, kept, everybody):
    plan = a_plan(models=("svm", "majority"), tasks=(make_task(),), indicators=("reho",))
    units = group.make_units(plan, configure(tmp_path, tmp_path, save_models=saved))
    of_svm = [unit for unit in units if unit.model == "svm"]
    assert [unit.keep for unit in of_svm if unit.folds] == [kept, kept]
    assert sum(unit.folds is None for unit in of_svm) == everybody


def edges(workflow):
    return {(first.name, second.name) for first, second in workflow._graph.edges()}


def test_networks_wait_for_their_features_and_baselines_share_a_node(tmp_path):
    arrays = make_arrays(tmp_path / "arrays", people=40)
    plan = a_plan(tasks=(make_task(),))
    config = configure(tmp_path, tmp_path, permutations=25)
    units = group.make_units(plan, config)
    of = {name: dataclasses.replace(arrays, indicator=name) for name in ("alff", "reho")}
    workflow = group.init_group_wf(config, units, of, str(tmp_path / "folds"), base_dir=str(tmp_path))
    names = {node.name for node in workflow._get_all_nodes()}
    assert "baselines" in names
    assert len(workflow.get_node("baselines").inputs.units) == sum(unit.model != "googlenet" for unit in units)
    for indicator in ("alff", "reho"):
        shards = [f"features_googlenet_{indicator}_{number}" for number in (1, 2)]
        rows = [row for name in shards for row in workflow.get_node(name).inputs.rows]
        assert rows == list(range(40))
        ready = f"googlenet_{indicator}_ready"
        assert {(name, ready) for name in shards} <= edges(workflow)
        unit = f"hc_vs_migraine_{indicator}_googlenet"
        waiting = [f"{unit}_{part}" for part in ("trial1", "trial2", "everybody", "permutations_0", "permutations_20")]
        assert {(ready, name) for name in waiting} <= edges(workflow)
        assert (workflow.get_node(waiting[-1]).inputs.first, workflow.get_node(waiting[-1]).inputs.last) == (20, 25)
        assert f"hc_vs_migraine_{indicator}_svm_permutations_0" in names
    assert not any("majority" in name or "nuisance" in name for name in names)
    assert all(node.n_procs == 1 for node in workflow._get_all_nodes())
    assert all(node.interface.always_run for node in workflow._get_all_nodes() if not node.name.endswith("_ready")), (
        "files say what is there already, not nipype"
    )


def test_names_of_nodes_are_what_nipype_allows(tmp_path):
    plan = a_plan(models=("timm:resnet10t.c3_in1k",), tasks=(make_task(),), indicators=("reho",))
    config = configure(tmp_path, tmp_path, unfreeze="linear")
    arrays = {"reho": make_arrays(tmp_path / "arrays")}
    units = group.make_units(plan, config)
    workflow = group.init_group_wf(config, units, arrays, str(tmp_path), base_dir=str(tmp_path))
    assert "features_timm_resnet10t_c3_in1k_reho_1" in {node.name for node in workflow._get_all_nodes()}


def test_maps_wait_for_their_folds_and_checks_for_the_maps_of_all_trials(tmp_path):
    config = configure(tmp_path, tmp_path).replace("explaining", cam=("attention", "layercam", "gradcam"))
    plan, arrays = a_plan(tasks=(make_task(),), indicators=("reho",)), {"reho": make_arrays(tmp_path / "arrays")}
    units = group.make_units(plan, config)
    workflow = group.init_group_wf(config, units, arrays, str(tmp_path), base_dir=str(tmp_path))
    cell = "hc_vs_migraine_reho_googlenet"
    for trial in (1, 2):
        assert (f"{cell}_trial{trial}", f"{cell}_trial{trial}_maps") in edges(workflow)
        assert (f"{cell}_trial{trial}_maps", f"{cell}_maps_ready") in edges(workflow)
        assert workflow.get_node(f"{cell}_trial{trial}_maps").inputs.methods == ["layercam", "gradcam"]
    assert (f"{cell}_maps_ready", f"{cell}_checks") in edges(workflow)
    assert workflow.get_node(f"{cell}_checks").inputs.method == "layercam", "the first that fits"
    assert not any("svm" in name and "maps" in name for name, _ in edges(workflow))
    bare = config.replace("explaining", explain=False)
    assert not any(
        "maps" in node.name
        for node in group.init_group_wf(
            bare, group.make_units(plan, bare), arrays, str(tmp_path), base_dir=str(tmp_path)
        )._get_all_nodes()
    )
    unchecked = config.replace("explaining", sanity_checks=False)
    nodes = group.init_group_wf(unchecked, units, arrays, str(tmp_path), base_dir=str(tmp_path))._get_all_nodes()
    assert not any(node.name.endswith("_checks") for node in nodes)


def test_maps_that_no_network_can_have_are_refused(networks, tmp_path):
    config = configure(tmp_path, tmp_path).replace("explaining", cam=("attention",))
    with pytest.raises(UsageError, match="--cam attention fits none of resnet18"):
        group.check_networks(networks, config, tmp_path / "features")
    assert group.check_networks(networks, config.replace("explaining", explain=False), tmp_path / "features")


def test_a_gpu_that_is_not_there_is_told_before_anything_is_computed(networks, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = configure(tmp_path, tmp_path, device="cuda")
    with pytest.raises(UsageError, match="--device cuda was given"):
        group.check_networks(networks, config, tmp_path / "features")
    (line,) = group.check_networks(networks, configure(tmp_path, tmp_path, device="auto"), tmp_path / "features")
    assert line.endswith("GB, on the CPU.")
    elsewhere = config.replace("run", use_plugin=tmp_path / "slurm.yml")
    assert len(group.check_networks(networks, elsewhere, tmp_path / "features")) == 1


def test_no_permutations_unless_asked(tmp_path):
    units = group.make_units(a_plan(), configure(tmp_path, tmp_path))
    assert group.permuted_units(units, configure(tmp_path, tmp_path)) == []
    chosen = group.permuted_units(units, configure(tmp_path, tmp_path, permutations=1))
    assert len(chosen) == 2 * 2 * 2
    assert {unit.folds[0].trial for unit in chosen} == {1}


@pytest.fixture
def networks(tmp_path):
    pytest.importorskip("torch")
    arrays = make_arrays(tmp_path / "arrays")
    return a_plan(arrays, models=("resnet18", "svm"), tasks=(make_task(),), indicators=("reho",))


def test_features_that_are_missing_are_counted(networks, tmp_path, monkeypatch):
    config, features = configure(tmp_path, tmp_path), tmp_path / "features"
    (line,) = group.check_networks(networks, config, features)
    assert line.startswith("resnet18: features of 12 of 12 maps are to be made")
    recipe = group.make_recipe("resnet18", config.learning, networks.template.geometry, config.random_seed)
    path = recipe.path(features, networks.roster.people["key"][0], networks.maps["reho"].hashes[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    (line,) = group.check_networks(networks, config, features)
    assert line.startswith("resnet18: features of 11 of 12 maps")
    monkeypatch.setattr(group, "free_gb", lambda folder: 1e-6)
    with pytest.raises(ResourceError, match="GB are free where the output lies"):
        group.check_networks(networks, config, features)
    assert group.check_networks(a_plan(models=("svm",)), config, features) == []


def test_weights_are_tried_before_anything_is_computed_with_them(networks, tmp_path):
    import torch

    file = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not fit resnet18"):
        group.check_networks(networks, configure(tmp_path, tmp_path, weights=file), tmp_path / "features")


def test_arrays_of_these_tests_are_what_nodes_read(tmp_path):
    inputs = make_arrays(tmp_path).inputs()
    assert inputs.nuisance_names == ("age", "mean_fd")
    assert np.isfinite(inputs.regions).all()
