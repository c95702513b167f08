"""The checks of maps: a trained network passes; an untrained one, an edge detector and empty maps do not."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from migxai.audit import CHECKS, Check, audited_maps
from migxai.audit.checks import (
    deletion,
    label_permutation,
    localization,
    presence,
    reproducibility,
    weight_randomization,
)
from migxai.audit.runner import check_maps, trusted
from migxai.explain.explainers import explain_people
from migxai.explain.saliency_maps import SaliencyMaps, scale_folds
from migxai.explain.volumes import SliceSpace
from migxai.learning.backbones import make_head
from migxai.learning.splits import make_folds
from tests.audit.audited_cases import EDGES, NOTHING, heads_of, make_case, register, space
from tests.learning.networks import GRID, geometry, settings, write_store

FEATURES = ("Maps change when the classifier is random", "Maps change when all trained layers are random")
LABELS = "Maps change when labels are permuted"
SEPARATION = "Evidence tells unseen people apart, and permuted labels give none"
FOLDS, TRIALS = "Folds agree on where classes differ", "Trials agree on where classes differ"
USED = (
    "The network uses what maps point at, more than random places",
    "The network uses what maps point at, more than edges",
)


def by_name(checks):
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


@pytest.fixture(scope="module")
def trained():
    return by_name(check_maps(make_case()))


def test_a_trained_network_passes_everything(trained):
    assert {name: check.passed for name, check in trained.items()} == dict.fromkeys(trained, True)
    assert {"Maps show anything", *FEATURES, LABELS, SEPARATION, FOLDS, TRIALS, *USED} < set(trained)
    verdict, sentence = trusted(list(trained.values()))
    assert verdict is True
    assert f"passed all {len(trained)}" in sentence


def test_what_checks_say_fits_a_json_file(trained):
    for check in trained.values():
        content = check.to_dict()
        assert json.loads(json.dumps(content, allow_nan=False)) == content
        assert all(content[key] for key in ("name", "of", "value", "limit"))
    assert Check("a", "b").to_dict()["number"] is None


def test_an_untrained_network_fails():
    found = by_name(check_maps(make_case(trained=False)))
    assert trusted(list(found.values()))[0] is False
    # It has maps, and random weights give others; but they say nothing of classes, and no two heads agree.
    assert all(found[name].passed for name in FEATURES)
    assert [found[name].passed for name in (SEPARATION, FOLDS, TRIALS)] == [False] * 3
    assert found[SEPARATION].name in trusted(list(found.values()))[1]


def test_a_network_fails_where_there_is_nothing_to_learn():
    found = by_name(check_maps(make_case(effect=0.0, trials=1, truth=None)))
    assert [found[name].passed for name in (SEPARATION, FOLDS, *USED)] == [False] * 4
    assert found[TRIALS].passed is None


def test_an_edge_detector_fails(monkeypatch):
    """Though the classes differ, so that its maps differ between them too."""
    found = by_name(check_maps(make_case(method=register(monkeypatch, EDGES), trials=1)))
    assert trusted(list(found.values()))[0] is False
    for name in (FEATURES[1], LABELS):
        assert found[name].passed is False
        assert found[name].number == pytest.approx(1.0)
    assert found[FOLDS].passed is False, "random heads give the very same"
    # It has no business with the classifier, so that is shown and not judged.
    assert (found[FEATURES[0]].passed, found[FEATURES[0]].value) == (None, "1.00")
    assert found[SEPARATION].passed is None


def test_maps_that_are_zero_throughout_are_counted_and_divide_nothing(monkeypatch):
    case = make_case(method=register(monkeypatch, NOTHING), trials=1)
    with np.errstate(all="raise"):
        found = by_name(check_maps(case))
    assert (found["Maps show anything"].passed, found["Maps show anything"].value) == (False, "0 of 32 people")
    assert found[SEPARATION].passed is False
    rest = set(found) - {"Maps show anything", SEPARATION}
    assert {found[name].passed for name in rest} == {None}
    assert all(found[name].detail.startswith("Not made: ") for name in rest)


def test_maps_of_some_people_that_are_zero_are_left_out():
    case = make_case(trials=1)
    maps = case.trials[0].maps.copy()
    maps[:20] = 0
    fewer = dataclasses.replace(case, trials=[dataclasses.replace(case.trials[0], maps=maps)])
    found = presence.check(fewer)[0]
    assert (found.passed, found.value) == (False, "12 of 32 people")
    assert "the same everywhere" in found.detail
    of_weights = weight_randomization.check(fewer)[0]
    assert "left out" in of_weights.detail
    assert np.isfinite(of_weights.number)


def test_three_classes_and_a_linear_head():
    found = by_name(check_maps(make_case(classes=3, people=36, planes=None)))
    assert {name for name, check in found.items() if check.passed is not True} == set(USED)
    assert all("not at hand" in found[name].detail for name in USED)
    linear = by_name(check_maps(make_case(unfreeze="linear", trials=1, planes=None)))
    assert FEATURES[0] in linear
    assert FEATURES[1] not in linear, "the classifier is all that is trained"


def test_the_same_seed_gives_the_same_and_another_gives_others():
    case = make_case(trials=1)
    first, again = (weight_randomization.check(case) + reproducibility.check(case) for _ in range(2))
    assert first == again
    assert weight_randomization.check(dataclasses.replace(case, seed=1)) != weight_randomization.check(case)


def test_a_single_fold_and_folds_of_one_person_are_said():
    case = make_case(trials=1)
    rows = case.trials[0].fold == case.folds[0].number
    only = case.trials[0].select(rows)
    single = dataclasses.replace(case, folds=case.folds[:1], heads=case.heads[:1], trials=[only])
    found = by_name(reproducibility.check(single) + deletion.check(single) + label_permutation.check(single))
    assert found[FOLDS].passed is None
    assert "maps of 1 fold " in found[FOLDS].detail
    assert {found[name].passed for name in USED} == {None}
    assert found[LABELS].passed is True


def test_leaving_one_out_has_evidence_but_no_agreement_of_folds():
    _, _, _, store, _, heads = heads_of(0.3, True, 2, 32, 4, 2, "last-conv")
    case = make_case(trials=2)
    folds = make_folds(case.labels[:8], ["a"] * 8, cv="leave-one-out", folds=8, trials=1, seed=0)[0]
    places = np.arange(8)
    maps = explain_people(heads[0], store, places, "gradcam", space(), 2)
    evidence = scale_folds(
        SaliencyMaps(places, case.labels[:8], case.labels[:8], maps, np.array([f.number for f in folds]))
    )
    left = dataclasses.replace(
        case, labels=case.labels[:8], people=places, folds=folds, heads=[heads[0]] * 8, trials=[evidence], planes=None
    )
    found = by_name(check_maps(left))
    assert found[FOLDS].passed is found[TRIALS].passed is None
    assert found[SEPARATION].number == 1.0


def test_a_class_that_nobody_tests_is_said():
    case = make_case(trials=1)
    rows = case.trials[0].labels == 0
    evidence = case.trials[0].select(rows)
    folds = [dataclasses.replace(fold, test=fold.test[case.labels[fold.test] == 0]) for fold in case.folds]
    found = by_name(check_maps(dataclasses.replace(case, folds=folds, trials=[evidence])))
    for name in (SEPARATION, FOLDS, *USED):
        assert found[name].passed is None, name
    assert "nobody" in found[SEPARATION].detail


def test_the_frozen_part_is_drawn_anew_only_if_it_is_pretrained():
    case = make_case(trials=1)
    assert not any("whole network" in check.name for check in weight_randomization.check(case))
    pretrained = dataclasses.replace(case, settings=dataclasses.replace(case.settings, weights="imagenet"))
    found = by_name(weight_randomization.check(pretrained))["Maps change when the whole network is random"]
    assert found.passed is True
    assert "3 people, 8 random networks" in found.detail
    absent = weight_randomization.check(dataclasses.replace(pretrained, backbone=None))[-1]
    assert (absent.passed, absent.detail[:9]) == (None, "Not made:")


def test_truth_judges_by_sign():
    case = make_case(trials=1)
    area, rank = localization.check(case)
    assert (area.passed, rank.passed) == (True, True)
    against = [dataclasses.replace(trial, maps=-trial.maps) for trial in case.trials]
    area, rank = localization.check(dataclasses.replace(case, trials=against))
    assert (area.passed, rank.passed) == (False, False)
    assert area.number < 0.3
    assert localization.check(dataclasses.replace(case, truth=None)) == []


def test_the_pair_is_that_of_most_people():
    case = make_case(trials=1)
    assert case.pair == (0, 1)
    some = dataclasses.replace(case, labels=np.array([0, 1, 1, 2, 2, 2]), classes=("a", "b", "c"))
    assert some.pair == (1, 2)


def test_every_check_looks_at_maps_or_results_in_the_order_of_reports():
    of_results = ["completeness", "consistency", "class-coverage", "nuisance"]
    of_maps = ["presence", "weight-randomization", "label-permutation", "reproducibility", "deletion", "localization"]
    assert [*CHECKS] == of_results + of_maps
    assert [name for name, entry in CHECKS.items() if entry.of_maps] == of_maps
    assert [name for name, entry in CHECKS.items() if entry.of_results] == of_results


def test_listing_checks_imports_nothing_heavy():
    code = (
        "import sys; from migxai.audit import CHECKS; assert len(CHECKS) > 9;"
        "assert not {'numpy', 'torch', 'scipy', 'sklearn', 'pandas'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_verdicts():
    passed, failed, not_made = (Check(str(one), "x", passed=one) for one in (True, False, None))
    assert trusted([passed, not_made])[0] is True
    verdict, sentence = trusted([passed, failed, not_made])
    assert verdict is False
    assert "failed 1 of 2 sanity checks (False)" in sentence
    assert trusted([not_made])[0] is trusted([])[0] is None


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """A small real transformer's store of a few people, and its untrained heads."""
    options = settings(augmentations=0)
    return write_store(tmp_path_factory.mktemp("vit"), "timm:vit_tiny_patch16_224", options, 8)[0]


@pytest.mark.parametrize("method", ["gradcam", "attention"])
def test_transformers_are_checked_too(transformer, method):
    brain = np.zeros(GRID, dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    room = SliceSpace(geometry(), brain)
    labels = np.arange(8) % 2
    folds = make_folds(labels, ["a"] * 8, cv="kfold", folds=2, trials=1, seed=0)[0]
    heads = [make_head(transformer.split, 2, torch.Generator().manual_seed(n)).eval() for n in range(2)]
    parts = [
        explain_people(head, transformer, fold.test, method, room, 2) for fold, head in zip(folds, heads, strict=True)
    ]
    places = np.concatenate([fold.test for fold in folds])
    numbers = np.repeat([fold.number for fold in folds], [len(fold.test) for fold in folds])
    evidence = scale_folds(SaliencyMaps(places, labels[places], labels[places], np.concatenate(parts), numbers))
    case = dataclasses.replace(
        make_case(trials=1),
        labels=labels, people=np.arange(8), folds=folds, heads=heads, trials=[evidence], store=transformer, space=room,
        method=method, settings=settings(augmentations=0, epochs=1), planes=None, backbone=None, truth=None,
    )  # fmt: skip
    found = by_name(check_maps(case))
    assert np.isfinite(found[FEATURES[1]].number)
    assert np.isfinite(found[LABELS].number)
    if method == "attention":
        assert found[FEATURES[0]].value == "1.00", "attention does not look at the classifier"
    assert trusted(list(found.values()))[0] is not True


# What checks are made of.


def test_ranks_give_spearmans_correlation():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (2, 3, 40)).astype(float)
    found = (audited_maps.standard_ranks(one) * audited_maps.standard_ranks(other)).sum(axis=-1)
    np.testing.assert_allclose(found, [stats.spearmanr(a, b)[0] for a, b in zip(one, other, strict=True)])
    assert np.isnan(audited_maps.standard_ranks(np.ones((1, 9)))).all()


def test_a_window_shows_the_voxels_of_its_slices():
    whole, some = audited_maps.choose_slices(space()), audited_maps.choose_slices(space(), np.array([1]))
    assert sorted(whole.voxels.tolist()) == list(range(int(space().inside.sum())))
    case = make_case(trials=1)
    rows = np.arange(4)
    expected = explain_people(case.heads[0], case.store, rows, "gradcam", space(), 2)
    for choice in (whole, some):
        found = audited_maps.explain_slices(case.heads[0], case, rows, choice)
        np.testing.assert_allclose(found, expected[:, :, choice.voxels], atol=1e-5 * np.abs(expected).max())


def test_area_is_scikit_learns_within_strata():
    rng = np.random.default_rng(0)
    values, labels = rng.integers(0, 6, 30).astype(float), np.arange(30) % 2
    assert label_permutation.area_under(values, labels, (0, 1)) == pytest.approx(roc_auc_score(labels, values))
    strata = np.repeat([0, 1], [10, 20])
    shifted = values + 100 * strata
    areas = [roc_auc_score(labels[strata == one], values[strata == one]) for one in (0, 1)]
    expected = np.average(areas, weights=[5 * 5, 10 * 10])
    assert label_permutation.area_under(shifted, labels, (0, 1), strata) == pytest.approx(expected)
    assert np.isnan(label_permutation.area_under(values, labels, (0, 1), np.arange(30)))


@given(st.lists(st.integers(0, 2), min_size=6, max_size=40), st.integers(0, 9))
def test_permuted_labels_have_the_same_counts(labels, seed):
    values = np.array(labels)
    found = label_permutation.unlike(values, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(found), np.sort(values))


def test_permuted_labels_have_little_to_do_with_the_true_ones():
    labels = np.arange(40) % 2
    agreeing_ones = [
        (label_permutation.unlike(labels, np.random.default_rng(seed)) == labels).mean() for seed in range(20)
    ]
    assert np.ptp(agreeing_ones) <= 0.1
    assert np.mean(agreeing_ones) == pytest.approx(0.5, abs=0.03)


def test_the_top_share_is_of_each_slices_shown_voxels():
    rng = np.random.default_rng(0)
    order, shown = rng.random((2, 10, 10)), np.zeros((2, 10, 10), dtype=bool)
    shown[:, 2:, 3:] = True
    top = deletion.top_share(order, shown, 0.25)
    assert not (top & ~shown).any()
    assert top.sum(axis=(1, 2)).tolist() == [14, 14]
    for values, inside, marked in zip(order, shown, top, strict=True):
        assert values[marked].min() > values[inside & ~marked].max()


def test_edges_are_where_the_picture_is_steep():
    basis = np.zeros((4, 8, 8))
    for cell, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        basis[cell, row : row + 4, column : column + 4] = 1
    plane = np.zeros((1, 8, 8))
    plane[0, 5:7, 5:7] = 1
    found = deletion.coarse_edges(plane, np.ones((1, 8, 8), dtype=bool), basis)[0]
    assert found.argmax() in {row * 8 + column for row in range(4, 8) for column in range(4, 8)}
    assert found[:4, :4].max() == 0
    hidden = deletion.coarse_edges(plane, np.zeros((1, 8, 8), dtype=bool), basis)
    assert not hidden.any()


def test_the_test_of_both_classes_is_welchs():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, 9), rng.normal(0.2, 2, 7)
    expected = stats.ttest_ind(first, -second, equal_var=False, alternative="greater").pvalue
    assert deletion.p_of_sum(first, second) == pytest.approx(expected)
    # What one class gains at the other's cost is no gain.
    assert deletion.p_of_sum(first + 5, second - 5) == pytest.approx(expected)
    assert deletion.p_of_sum(np.zeros(3), np.zeros(3)) == 1.0


def test_people_are_spread_over_folds_and_classes():
    case = make_case(trials=1)
    chosen = audited_maps.choose_people(case, 12)
    assert [number for number, _ in chosen] == [0, 1, 2, 3]
    for number, places in chosen:
        assert set(places) <= set(case.folds[number].test)
    everyone = np.concatenate([places for _, places in chosen])
    assert len(set(everyone)) == 12
    assert np.bincount(case.labels[everyone]).min() >= 4
    allowed = case.labels == 1
    assert (
        case.labels[np.concatenate([places for _, places in audited_maps.choose_people(case, 99, allowed)])].tolist()
        == [1] * 16
    )


def test_rows_are_found_in_any_order():
    case = make_case(trials=1)
    evidence = case.trials[0]
    places = np.array([7, 0, 19])
    assert evidence.places[audited_maps.rows_of(evidence, places)].tolist() == places.tolist()
