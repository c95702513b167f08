"""One fold: what it hands to a model, its seed, its key and its file."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from migxai.config import Learning
from migxai.errors import InputError, OutputError
from migxai.learning.crossval import FoldResult, fold_path, read_fold, run_fold, unit_key, unit_seed, write_fold
from migxai.learning.estimators import ESTIMATORS, EstimatorEntry
from migxai.learning.estimators.majority import Majority
from migxai.learning.splits import Fold, make_folds
from tests.evaluation.tables import make_table, other_rows_changed

NAMES = ("HC", "migraine")


def first_fold(labels):
    return make_folds(labels, ["a"] * len(labels), cv="kfold", folds=5, trials=1, seed=0)[0][0]


def run(name, inputs, labels, fold, **more):
    return run_fold(name, inputs, labels, fold, **{"classes": NAMES, "settings": Learning(), "seed": 7, **more})


class Spy(Majority):
    """Notes what it is handed."""

    def fit(self, inputs, rows, labels):
        self.seen = inputs, rows, labels
        return super().fit(inputs, rows, labels)


def test_a_model_is_handed_the_training_subjects_alone(monkeypatch):
    entry = EstimatorEntry(name="spy", title="Spy", make=Spy, tables=())
    monkeypatch.setitem(ESTIMATORS._entries, "spy", entry)
    inputs, labels = make_table(30, gaps=0)
    fold = first_fold(labels)
    seen, rows, seen_labels = run("spy", inputs, labels, fold).estimator.seen
    assert seen.subjects == tuple(inputs.subjects[place] for place in fold.train)
    assert np.array_equal(rows, np.arange(len(fold.train)))
    assert np.array_equal(seen_labels, labels[fold.train])
    for table in ("regions", "nuisance"):
        assert np.array_equal(getattr(seen, table), getattr(inputs, table)[fold.train])


@pytest.mark.parametrize("name", ["svm", "rf", "majority", "nuisance"])
def test_test_subjects_change_nothing_that_is_fitted(name):
    inputs, labels = make_table(30)
    fold = first_fold(labels)
    changed = labels.copy()
    changed[fold.test] = 1 - changed[fold.test]
    first = run(name, inputs, labels, fold)
    again = run(name, other_rows_changed(inputs, fold.train, infinite=False), changed, fold)
    assert first.probabilities.shape == (len(fold.test), 1, 2)
    for key, values in first.estimator.tensors().items():
        assert np.array_equal(values, again.estimator.tensors()[key]), key


def test_a_comparison_of_some_people_only():
    inputs, labels = make_table(40)
    people = np.flatnonzero(np.arange(40) % 4 != 1)[::-1]
    part = dataclasses.replace(
        inputs,
        subjects=tuple(inputs.subjects[row] for row in people),
        regions=inputs.regions[people],
        nuisance=inputs.nuisance[people],
    )
    fold = first_fold(labels[people])
    whole = run("svm", inputs, labels[people], fold, people=people)
    alone = run("svm", part, labels[people], fold)
    assert np.array_equal(whole.rows, people[fold.test])
    assert np.array_equal(whole.probabilities, alone.probabilities)


def test_refuses_a_fold_that_tests_whom_it_trains_on():
    inputs, labels = make_table(20)
    with pytest.raises(ValueError, match="fold 1 of trial 2"):
        run("majority", inputs, labels, Fold(2, 1, np.arange(15), np.arange(14, 20)))


def test_seed_follows_from_the_name_alone():
    assert unit_seed(0, "svm", 1, 2) == unit_seed(0, "svm", 1, 2)
    seeds = {
        unit_seed(0, "svm", 1, 2), unit_seed(1, "svm", 1, 2), unit_seed(0, "svm", 12), unit_seed(0, "svm", "1", "2"),
        unit_seed(0, "svm1", 2), unit_seed(0, "svm", 2, 1),
    }  # fmt: skip
    assert len(seeds) == 6
    assert all(0 <= seed < 2**32 for seed in seeds)
    code = "from migxai.learning.crossval import unit_seed; print(unit_seed(0, 'svm', 1, 2))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == unit_seed(0, "svm", 1, 2)


def test_every_fold_has_its_own_seed(monkeypatch):
    entry = EstimatorEntry(name="spy", title="Spy", make=Spy, tables=())
    monkeypatch.setitem(ESTIMATORS._entries, "spy", entry)
    inputs, labels = make_table(20)
    folds, _ = make_folds(labels, ["a"] * 20, cv="kfold", folds=3, trials=2, seed=0)
    assert len({run("spy", inputs, labels, fold).estimator.seed for fold in folds}) == 6


KEYED = {"classes": NAMES, "settings": Learning(), "seed": 7}


def test_key_changes_with_all_that_may_change_the_result():
    inputs, labels = make_table(30)
    fold = first_fold(labels)
    key = unit_key("svm", inputs, labels, fold, **KEYED)
    assert key == unit_key("svm", inputs, labels, fold, **KEYED)
    relabelled, moved, renamed = labels.copy(), inputs.regions.copy(), list(inputs.subjects)
    relabelled[fold.train[0]] = 1 - relabelled[fold.train[0]]
    moved[fold.test[0], 3] += 1e-12
    renamed[0] = "other/sub-01"
    others = [
        unit_key("svm", inputs, relabelled, fold, **KEYED),
        unit_key("svm", dataclasses.replace(inputs, regions=moved), labels, fold, **KEYED),
        unit_key("svm", dataclasses.replace(inputs, subjects=tuple(renamed)), labels, fold, **KEYED),
        unit_key("rf", inputs, labels, fold, **KEYED),
        unit_key("svm", inputs, labels, dataclasses.replace(fold, number=2), **KEYED),
        unit_key("svm", inputs, labels, fold, **KEYED | {"seed": 8}),
        unit_key("svm", inputs, labels, fold, **KEYED | {"settings": Learning(class_weights="none")}),
        unit_key("svm", inputs, labels, fold, **KEYED | {"classes": NAMES[::-1]}),
    ]
    assert len({key, *others}) == 9


def test_key_of_a_network_follows_the_store_and_the_maps():
    inputs, labels = make_table(30)
    fold = first_fold(labels)
    hashes = [f"{row:04x}" for row in range(30)]
    moved = inputs.regions.copy()
    moved[4, 0] = 9.0

    def key(store_key="k1", epochs=3, regions=inputs.regions, map_hashes=hashes):
        stored = dataclasses.replace(inputs, regions=regions, store=SimpleNamespace(key=store_key))
        what = {"classes": NAMES, "settings": Learning(epochs=epochs), "seed": 7, "map_hashes": map_hashes}
        return unit_key("resnet18", stored, labels, fold, **what)

    others = [key("k2"), key(epochs=4), key(regions=moved), key(map_hashes=[*hashes[:-1], "x"]), key(map_hashes=())]
    assert len({key(), *others}) == 6
    assert key() == key()
    with pytest.raises(ValueError, match="resnet18 needs a store"):
        unit_key("resnet18", inputs, labels, fold, **KEYED)


def test_key_stays_where_the_result_does():
    inputs, labels = make_table(30)
    fold = first_fold(labels)
    key = unit_key("svm", inputs, labels, fold, **KEYED)
    changed = labels.copy()
    changed[fold.test] = 0
    assert unit_key("svm", inputs, changed, fold, **KEYED) == key
    assert unit_key("svm", inputs, labels, fold, **KEYED | {"settings": Learning(epochs=3, device="cpu")}) == key
    assert unit_key("svm", dataclasses.replace(inputs, nuisance=inputs.nuisance + 1), labels, fold, **KEYED) == key


def test_key_of_a_new_migxai_is_another(monkeypatch):
    inputs, labels = make_table(30)
    fold = first_fold(labels)
    key = unit_key("majority", inputs, labels, fold, **KEYED)
    monkeypatch.setattr("migxai.learning.persistence.__version__", "99.0")
    assert unit_key("majority", inputs, labels, fold, **KEYED) != key


def test_result_comes_back_to_the_bit_and_same_bytes(tmp_path):
    inputs, labels = make_table(30)
    result = run("svm", inputs, labels, first_fold(labels))
    path = fold_path(tmp_path / "folds", "svm_reho_hc-vs-migraine", 1, 12)
    assert path.name == "trial-01_fold-012.npz"
    assert read_fold(path, "abc") is None
    write_fold(path, result, "abc")
    found = read_fold(path, "abc")
    assert found.estimator is None
    assert np.array_equal(found.probabilities, result.probabilities)
    assert np.array_equal(found.rows, result.rows)
    first = path.read_bytes()
    write_fold(path, result, "abc")
    assert path.read_bytes() == first
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_other_content_and_damage_get_a_sentence(tmp_path):
    path = fold_path(tmp_path, "svm", 1, 1)
    write_fold(path, FoldResult(np.full((3, 1, 2), 0.5), np.arange(3)), "abc")
    with pytest.raises(InputError, match=r"svm/trial-01_fold-001\.npz is of other maps"):
        read_fold(path, "abd")
    content = path.read_bytes()
    place = content.index(np.float64(0.5).tobytes()) + 7
    for broken in (
        content[:200], b"", b"not a file of numpy", content[:place] + b"\x00" + content[place + 1 :], content[:-8],
    ):  # fmt: skip
        path.write_bytes(broken)
        with pytest.raises(InputError, match="damaged"):
            read_fold(path, "abc")


def test_pickles_are_never_opened(tmp_path):
    path = fold_path(tmp_path, "svm", 1, 1)
    path.parent.mkdir()
    np.savez(path, key=np.array("abc"), rows=np.array([{"a": 1}], dtype=object), probabilities=np.zeros(1))
    with pytest.raises(InputError, match="damaged"):
        read_fold(path, "abc")


def test_failed_writing_leaves_nothing_behind(tmp_path):
    (tmp_path / "svm").write_text("a file where a folder is needed")
    with pytest.raises(OutputError, match="cannot be written"):
        write_fold(fold_path(tmp_path, "svm", 1, 1), FoldResult(np.zeros((1, 1, 2)), np.arange(1)), "abc")
    assert [item.name for item in tmp_path.iterdir()] == ["svm"]
