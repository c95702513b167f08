from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from migxai.config import Learning
from migxai.errors import InputError
from migxai.evaluation.permutation import SCORES, permuted_scores
from migxai.group import fit as learning
from migxai.group.fit import CrossValidate, Permute, Unit
from migxai.learning.crossval import run_fold
from migxai.learning.estimators import make_estimator
from tests.group.cohorts import make_arrays, make_task

SETTINGS = Learning(models=("svm",), folds=2, trials=2, weights="random")


def make_unit(model="svm", trial=1, keep=True, name="hc_vs_mwoa_vs_mwa") -> Unit:
    task = make_task(name)
    return Unit(
        model=model,
        indicator="reho",
        comparison=name,
        classes=task.comparison.labels,
        people=tuple(task.people.tolist()),
        labels=tuple(task.labels.tolist()),
        folds=None if trial is None else tuple(fold for fold in task.folds if fold.trial == trial),
        keep=keep,
    )


@pytest.fixture
def arrays(tmp_path):
    return make_arrays(tmp_path / "arrays")


@pytest.fixture
def cross_validate(arrays, tmp_path):
    def call(*units, settings=SETTINGS, seed=0, arrays=arrays):
        node = CrossValidate(
            units=list(units), arrays={"reho": arrays}, settings=settings, seed=seed, folder=str(tmp_path / "folds")
        )
        return node.run(cwd=str(tmp_path)).outputs.units

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


def test_units_are_named_as_files_may_be():
    unit = make_unit("timm:a/b.c", trial=2)
    assert unit.cell == "hc_vs_mwoa_vs_mwa_reho_timm-a-b.c"
    assert unit.name == f"{unit.cell}_trial2"
    assert make_unit(trial=None).name == "hc_vs_mwoa_vs_mwa_reho_svm_everybody"


def test_seeds_differ_by_comparison_and_indicator_but_not_by_model():
    unit = make_unit()
    assert unit.seed(3) == make_unit("rf").seed(3) == make_unit(trial=2).seed(3)
    others = [make_unit(name="mwoa_vs_mwa").seed(3), dataclasses.replace(unit, indicator="alff").seed(3), unit.seed(4)]
    assert len({unit.seed(3), *others}) == 4


@pytest.mark.parametrize("name", ["hc_vs_mwoa_vs_mwa", "mwoa_vs_mwa"])
def test_folds_are_what_running_them_gives(cross_validate, arrays, tmp_path, name):
    unit = make_unit(name=name)
    assert cross_validate(unit) == [unit.name]
    for fold, result in zip(unit.folds, learning.read_folds(tmp_path / "folds", unit), strict=True):
        direct = run_fold(
            "svm",
            arrays.inputs(),
            np.asarray(unit.labels),
            fold,
            classes=unit.classes,
            settings=SETTINGS,
            seed=unit.seed(0),
            people=np.asarray(unit.people),
        )
        np.testing.assert_array_equal(result.rows, np.asarray(unit.people)[fold.test])
        np.testing.assert_array_equal(result.probabilities, direct.probabilities)


def test_complete_folds_are_not_computed_again_and_missing_ones_are(cross_validate, fitted, tmp_path):
    units = [make_unit(), make_unit(trial=2), make_unit("majority", keep=False)]
    cross_validate(*units)
    assert len(fitted) == 6
    fitted.clear()
    cross_validate(*units)
    assert fitted == []
    paths = sorted((tmp_path / "folds" / units[0].cell).glob("trial-*"))
    assert len(paths) == 8
    paths[0].unlink()
    cross_validate(*units)
    assert fitted == ["svm"]
    fitted.clear()
    paths[3].unlink()
    assert paths[3].suffix == ".safetensors"
    cross_validate(*units)
    assert fitted == ["svm"], "a fold whose model is wanted and gone is fitted again"
    assert all(path.is_file() for path in paths)
    assert not list((tmp_path / "folds" / units[2].cell).glob("*.safetensors"))


def test_a_unit_is_complete_only_once_all_its_folds_are(cross_validate, monkeypatch, tmp_path):
    unit, done = make_unit(), []

    def once(*args, **kwargs):
        if done:
            raise InputError("The second fold can't be done.")
        done.append(args)
        return run_fold(*args, **kwargs)

    monkeypatch.setattr(learning, "run_fold", once)
    with pytest.raises(Exception, match="The second fold can't be done"):
        cross_validate(unit)
    assert len(list((tmp_path / "folds" / unit.cell).glob("*.npz"))) == 1
    assert learning.read_folds(tmp_path / "folds", unit) == []


@pytest.mark.parametrize("harm", ["damaged", "other maps"])
def test_results_that_are_not_this_runs_are_named(cross_validate, arrays, tmp_path, harm):
    unit = make_unit()
    cross_validate(unit)
    if harm == "damaged":
        path = tmp_path / "folds" / unit.cell / "trial-01_fold-002.npz"
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(InputError, match=r"trial-01_fold-002\.npz.* is damaged; remove it and start again"):
            learning.read_folds(tmp_path / "folds", unit)
        with pytest.raises(Exception, match="is damaged"):
            cross_validate(unit)
        path.unlink()
        cross_validate(unit)
        assert len(learning.read_folds(tmp_path / "folds", unit)) == 2
    else:
        with pytest.raises(Exception, match="of other maps, labels, options or software"):
            cross_validate(unit, arrays=make_arrays(tmp_path / "others", seed=1))


def test_the_model_of_everybody_has_learned_from_everybody(cross_validate, arrays, tmp_path):
    unit = make_unit(trial=None)
    cross_validate(unit)
    ((name, places, tensors),) = learning.fitted_models(tmp_path / "folds", unit)
    assert name == "everybody"
    assert places.tolist() == list(range(len(unit.people)))
    assert learning.read_folds(tmp_path / "folds", unit) == []
    restored = make_estimator("svm", SETTINGS, n_classes=3, seed=0).restore(tensors)
    rows = np.asarray(unit.people)
    assert restored.predict(arrays.inputs(), rows).shape == (12, 1, 3)
    before = (tmp_path / "folds" / unit.cell / "everybody.safetensors").stat().st_mtime_ns
    cross_validate(unit)
    assert (tmp_path / "folds" / unit.cell / "everybody.safetensors").stat().st_mtime_ns == before


def test_kept_models_repeat_their_folds_predictions(cross_validate, arrays, tmp_path):
    unit = make_unit()
    cross_validate(unit)
    found = list(learning.fitted_models(tmp_path / "folds", unit))
    assert [name for name, *_ in found] == ["trial-1_fold-1", "trial-1_fold-2"]
    results = learning.read_folds(tmp_path / "folds", unit)
    for fold, (_, places, tensors), result in zip(unit.folds, found, results, strict=True):
        np.testing.assert_array_equal(places, fold.train)
        restored = make_estimator("svm", SETTINGS, n_classes=3, seed=0).restore(tensors)
        np.testing.assert_array_equal(restored.predict(arrays.inputs(), result.rows), result.probabilities)
    assert list(learning.fitted_models(tmp_path / "folds", make_unit("majority"))) == []


def test_permutations_can_be_divided_over_nodes(arrays, tmp_path):
    unit = make_unit(name="mwoa_vs_mwa")

    def permute(first, last, folder):
        node = Permute(
            unit=unit, arrays=arrays, first=first, last=last, settings=SETTINGS, seed=0, folder=str(tmp_path / folder)
        )
        return json.loads(Path(node.run(cwd=str(tmp_path)).outputs.file).read_text())

    whole, first, second = permute(0, 4, "whole"), permute(0, 2, "parts"), permute(2, 4, "parts")
    assert {name: first[name] + second[name] for name in SCORES} == whole
    direct = permuted_scores(
        "svm",
        arrays.inputs(),
        np.asarray(unit.labels),
        unit.folds,
        SETTINGS,
        classes=unit.classes,
        numbers=range(4),
        seed=unit.seed(0),
        people=np.asarray(unit.people),
        strata=[arrays.sites[row] for row in unit.people],
    )
    np.testing.assert_allclose([whole[name] for name in SCORES], direct.T)
    path = learning.permuted_path(tmp_path / "parts", unit, 2, "")
    path.write_text(json.dumps({name: [0.5, 0.5] for name in SCORES}))
    assert permute(2, 4, "parts")[SCORES[0]] == [0.5, 0.5], "what is there is not computed again"
