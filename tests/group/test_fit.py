from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from migxai.config import Learning
from migxai.errors import InputError
from migxai.evaluation.permutation import SCORES, permuted_scores
from migxai.group import fit as learning
from migxai.group.fit import FitJob, PermutationJob, list_experiments, permuted_experiments
from migxai.learning.crossval import run_fold
from migxai.learning.estimators import make_estimator
from tests.group.cohorts import configure, make_arrays, make_experiment, make_workspace, plan_comparison, sketch_plan

SETTINGS = Learning(models=("svm",), folds=2, trials=2, weights="random")


THREE = "hc_vs_mwoa_vs_mwa"


@pytest.fixture
def arrays(tmp_path):
    return make_arrays(tmp_path / "arrays")


@pytest.fixture
def cross_validate(arrays):
    def call(*experiments, seed=0, arrays=arrays, folds=arrays.features.parent.parent / "folds"):
        workspace = make_workspace(arrays, SETTINGS, seed=seed, folds=folds)
        FitJob(name="some", workspace=workspace, experiments=experiments).run()

    return call


@pytest.fixture
def fitted(monkeypatch):
    """The models of the folds that are fitted from now on."""
    names: list[str] = []

    def counting(name, *args, **kwargs):
        names.append(name)
        return run_fold(name, *args, **kwargs)

    monkeypatch.setattr(learning, "run_fold", counting)
    return names


def test_experiments_are_named_as_files_may_be():
    experiment = make_experiment("timm:a/b.c", trial=2, name=THREE)
    assert experiment.series == "hc_vs_mwoa_vs_mwa_reho_timm-a-b.c"
    assert experiment.name == f"{experiment.series}_trial2"
    assert make_experiment(trial=None, name=THREE).name == "hc_vs_mwoa_vs_mwa_reho_svm_everybody"


def test_seeds_differ_by_comparison_and_indicator_but_not_by_model():
    experiment = make_experiment(name=THREE)
    assert (
        experiment.seed(3) == make_experiment("rf", name=THREE).seed(3) == make_experiment(trial=2, name=THREE).seed(3)
    )
    others = [
        make_experiment(name="mwoa_vs_mwa").seed(3),
        dataclasses.replace(experiment, indicator="alff").seed(3),
        experiment.seed(4),
    ]
    assert len({experiment.seed(3), *others}) == 4


@pytest.mark.parametrize("name", ["hc_vs_mwoa_vs_mwa", "mwoa_vs_mwa"])
def test_folds_are_what_running_them_gives(cross_validate, arrays, tmp_path, name):
    experiment = make_experiment(name=name)
    cross_validate(experiment)
    for fold, result in zip(experiment.folds, learning.read_folds(tmp_path / "folds", experiment), strict=True):
        direct = run_fold(
            "svm",
            arrays.inputs(),
            np.asarray(experiment.labels),
            fold,
            classes=experiment.classes,
            settings=SETTINGS,
            seed=experiment.seed(0),
            people=np.asarray(experiment.people),
        )
        np.testing.assert_array_equal(result.rows, np.asarray(experiment.people)[fold.test])
        np.testing.assert_array_equal(result.probabilities, direct.probabilities)


def test_complete_folds_are_not_computed_again_and_missing_ones_are(cross_validate, fitted, tmp_path):
    experiments = [
        make_experiment(name=THREE),
        make_experiment(trial=2, name=THREE),
        make_experiment("majority", keep=False, name=THREE),
    ]
    cross_validate(*experiments)
    assert len(fitted) == 6
    fitted.clear()
    cross_validate(*experiments)
    assert fitted == []
    paths = sorted((tmp_path / "folds" / experiments[0].series).glob("trial-*"))
    assert len(paths) == 8
    paths[0].unlink()
    cross_validate(*experiments)
    assert fitted == ["svm"]
    fitted.clear()
    paths[3].unlink()
    assert paths[3].suffix == ".safetensors"
    cross_validate(*experiments)
    assert fitted == ["svm"], "a fold whose model is wanted and gone is fitted again"
    assert all(path.is_file() for path in paths)
    assert not list((tmp_path / "folds" / experiments[2].series).glob("*.safetensors"))


def test_a_unit_is_complete_only_once_all_its_folds_are(cross_validate, monkeypatch, tmp_path):
    experiment, done = make_experiment(name=THREE), []

    def once(*args, **kwargs):
        if done:
            raise InputError("The second fold can't be done.")
        done.append(args)
        return run_fold(*args, **kwargs)

    monkeypatch.setattr(learning, "run_fold", once)
    with pytest.raises(InputError, match="The second fold can't be done"):
        cross_validate(experiment)
    assert len(list((tmp_path / "folds" / experiment.series).glob("*.npz"))) == 1
    assert learning.read_folds(tmp_path / "folds", experiment) == []


@pytest.mark.parametrize("harm", ["damaged", "other maps"])
def test_results_that_are_not_this_runs_are_named(cross_validate, arrays, tmp_path, harm):
    experiment = make_experiment(name=THREE)
    cross_validate(experiment)
    if harm == "damaged":
        path = tmp_path / "folds" / experiment.series / "trial-01_fold-002.npz"
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(InputError, match=r"trial-01_fold-002\.npz.* is damaged; remove it and start again"):
            learning.read_folds(tmp_path / "folds", experiment)
        with pytest.raises(InputError, match="is damaged"):
            cross_validate(experiment)
        path.unlink()
        cross_validate(experiment)
        assert len(learning.read_folds(tmp_path / "folds", experiment)) == 2
    else:
        with pytest.raises(InputError, match="of other maps, labels, options or software"):
            cross_validate(experiment, arrays=make_arrays(tmp_path / "others", seed=1))


def test_the_model_of_everybody_has_learned_from_everybody(cross_validate, arrays, tmp_path):
    experiment = make_experiment(trial=None, name=THREE)
    cross_validate(experiment)
    ((name, places, tensors),) = learning.fitted_models(tmp_path / "folds", experiment)
    assert name == "everybody"
    assert places.tolist() == list(range(len(experiment.people)))
    assert learning.read_folds(tmp_path / "folds", experiment) == []
    restored = make_estimator("svm", SETTINGS, n_classes=3, seed=0).restore(tensors)
    rows = np.asarray(experiment.people)
    assert restored.predict(arrays.inputs(), rows).shape == (12, 1, 3)
    before = (tmp_path / "folds" / experiment.series / "everybody.safetensors").stat().st_mtime_ns
    cross_validate(experiment)
    assert (tmp_path / "folds" / experiment.series / "everybody.safetensors").stat().st_mtime_ns == before


def test_kept_models_repeat_their_folds_predictions(cross_validate, arrays, tmp_path):
    experiment = make_experiment(name=THREE)
    cross_validate(experiment)
    found = list(learning.fitted_models(tmp_path / "folds", experiment))
    assert [name for name, *_ in found] == ["trial-1_fold-1", "trial-1_fold-2"]
    results = learning.read_folds(tmp_path / "folds", experiment)
    for fold, (_, places, tensors), result in zip(experiment.folds, found, results, strict=True):
        np.testing.assert_array_equal(places, fold.train)
        restored = make_estimator("svm", SETTINGS, n_classes=3, seed=0).restore(tensors)
        np.testing.assert_array_equal(restored.predict(arrays.inputs(), result.rows), result.probabilities)
    assert list(learning.fitted_models(tmp_path / "folds", make_experiment("majority"))) == []


def test_permutations_can_be_divided_over_jobs(arrays, tmp_path):
    experiment = make_experiment(name="mwoa_vs_mwa")

    def permute(first, last, folder):
        workspace = make_workspace(arrays, SETTINGS, folds=tmp_path / folder)
        PermutationJob(name="some", workspace=workspace, experiment=experiment, numbers=range(first, last)).run()
        return json.loads(learning.permutation_path(tmp_path / folder, experiment, first, "").read_text())

    whole, first, second = permute(0, 4, "whole"), permute(0, 2, "parts"), permute(2, 4, "parts")
    assert {name: first[name] + second[name] for name in SCORES} == whole
    direct = permuted_scores(
        "svm",
        arrays.inputs(),
        np.asarray(experiment.labels),
        experiment.folds,
        SETTINGS,
        classes=experiment.classes,
        numbers=range(4),
        seed=experiment.seed(0),
        people=np.asarray(experiment.people),
        strata=[arrays.sites[row] for row in experiment.people],
    )
    np.testing.assert_allclose([whole[name] for name in SCORES], direct.T)
    path = learning.permutation_path(tmp_path / "parts", experiment, 2, "")
    path.write_text(json.dumps({name: [0.5, 0.5] for name in SCORES}))
    assert permute(2, 4, "parts")[SCORES[0]] == [0.5, 0.5], "what is there is not computed again"


def test_experiments_are_all_models_indicators_comparisons_and_trials(tmp_path):
    experiments = list_experiments(sketch_plan(), configure(tmp_path, tmp_path))
    assert len({experiment.name for experiment in experiments}) == len(experiments)
    tested = [experiment for experiment in experiments if experiment.folds]
    assert len(tested) == 4 * 2 * 2 * 2
    assert all(len({fold.trial for fold in experiment.folds}) == 1 for experiment in tested)
    everybody = [experiment for experiment in experiments if experiment.folds is None]
    assert len(everybody) == 2 * 2 * 2, "of the models asked for; the baselines that always run are not kept"
    assert {experiment.model for experiment in everybody} == {"svm", "googlenet"}
    deep = [experiment.model == "googlenet" for experiment in experiments]
    assert deep == sorted(deep, reverse=True), "what takes longest begins first"
    assert {experiment.model for experiment in experiments if experiment.keep and experiment.folds} == {
        "svm",
        "googlenet",
    }


@pytest.mark.parametrize(("saved", "kept", "everybody"), [("folds", True, 1), ("final", False, 1), ("none", False, 0)])
def test_which_models_are_kept(tmp_path, saved, kept, everybody):
    plan = sketch_plan(models=("svm", "majority"), comparisons=(plan_comparison(),), indicators=("reho",))
    experiments = list_experiments(plan, configure(tmp_path, tmp_path, save_models=saved))
    of_svm = [experiment for experiment in experiments if experiment.model == "svm"]
    assert [experiment.keep for experiment in of_svm if experiment.folds] == [kept, kept]
    assert sum(experiment.folds is None for experiment in of_svm) == everybody


def test_no_permutations_unless_asked(tmp_path):
    experiments = list_experiments(sketch_plan(), configure(tmp_path, tmp_path))
    assert permuted_experiments(experiments, configure(tmp_path, tmp_path)) == []
    chosen = permuted_experiments(experiments, configure(tmp_path, tmp_path, permutations=1))
    assert len(chosen) == 2 * 2 * 2
    assert {experiment.folds[0].trial for experiment in chosen} == {1}
