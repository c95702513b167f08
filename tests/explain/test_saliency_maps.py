"""Means of maps by hand: six people, three voxels, two folds."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from migxai.explain.regions import regional_t
from migxai.explain.saliency_maps import (
    SaliencyMaps,
    agreement,
    class_mean,
    difference,
    fold_differences,
    join_folds,
    mean_correlation,
    person_means,
    scale_folds,
)


def make(scale=1.0, predicted=(0, 1, 0, 1, 1, 0), trial=1):
    """Class 1 has its evidence in voxel 2; voxel 0 says nothing and voxel 1 misleads."""
    labels = np.array([0, 1, 0, 1, 0, 1])
    second = np.where(labels[:, None] == 1, [1.0, -1.0, 2.0], [1.0, 1.0, -2.0]) * scale
    maps = np.stack([-second, second], axis=1)
    return SaliencyMaps(np.arange(6), labels, np.array(predicted), maps, np.array([1, 1, 1, 1, 2, 2]), trial)


def test_a_difference_is_positive_where_held_out_people_are_told_apart():
    row = difference([make()], (0, 1))
    np.testing.assert_allclose(row, [0.0, -2.0, 4.0])
    np.testing.assert_allclose(difference([make()], (1, 0)), row, err_msg="the same from the other side")


def test_regions_are_compared_by_how_far_people_differ():
    """Against scipy's test of people's means over two trials; regions of 6, 4 and 6 voxels."""
    rng, labels = np.random.default_rng(0), np.array([0, 1, 0, 1, 0, 1, 2])
    regions = np.repeat([7, 8, 9], (6, 4, 6))
    trials = []
    for number in (1, 2):
        maps = rng.standard_normal((7, 3, 16)) * (1 + (regions == 9) * 20)
        maps[labels == 1, 1] += 1.0
        order = rng.permutation(7)
        trials.append(SaliencyMaps(order, labels[order], labels[order], maps[order], np.ones(7, dtype=int), number))
    people = {label: [] for label in (0, 1)}
    for place in range(6):
        rows = [trial.favouring((0, 1))[trial.places.tolist().index(place)] for trial in trials]
        people[labels[place]].append([np.mean(rows, axis=0)[regions == region].mean() for region in (7, 9)])
    expected = ttest_ind(people[1], people[0], equal_var=False).statistic
    t = regional_t(trials, (0, 1), regions, (7, 8, 9))
    np.testing.assert_allclose(t[[0, 2]], expected)
    assert np.isnan(t[1]), "of too few voxels"
    assert np.isnan(regional_t(trials, (1, 2), regions, (7, 8, 9))).all(), "one person has no spread"


def test_regions_where_nobody_differs_have_no_t_and_those_without_spread_an_infinite_one():
    flat = make()
    maps = np.zeros((6, 2, 10))
    maps[:, :, 5:] = flat.maps[:, :, 2:]
    evidence = SaliencyMaps(flat.places, flat.labels, flat.predicted, maps, flat.fold)
    assert regional_t([evidence], (0, 1), np.repeat([1, 2], 5), (1, 2)).tolist() == [0.0, np.inf]


def test_folds_of_any_size_count_alike_once_evened():
    loud = make()
    maps = np.array(loud.maps)
    maps[loud.fold == 2] *= 1000
    loud = SaliencyMaps(loud.places, loud.labels, loud.predicted, maps, loud.fold)
    np.testing.assert_allclose(scale_folds(loud).maps, scale_folds(make()).maps, rtol=1e-6)
    assert np.abs(scale_folds(loud).maps).mean() == pytest.approx(1.0)


def test_zero_maps_are_not_divided_by():
    zero = SaliencyMaps(
        *[getattr(make(), name) for name in ("places", "labels", "predicted")], make().maps * 0, make().fold
    )
    assert np.array_equal(scale_folds(zero).maps, zero.maps)
    assert np.isnan(mean_correlation(fold_differences([zero], (0, 1))))


def test_class_means_hold_only_those_who_were_classified_so():
    row, places = class_mean([make()], 1)
    assert places.tolist() == [1, 3]
    np.testing.assert_allclose(row, [1.0, 0.0, 2.0])
    wrong, places = class_mean([make()], 1, predicted=0)
    assert places.tolist() == [5]
    np.testing.assert_allclose(wrong, [0.0, 1.0, 0.0])
    nobody, places = class_mean([make(predicted=(0,) * 6)], 0, predicted=1)
    assert nobody is None
    assert not len(places)


def test_a_person_is_averaged_over_trials_before_people_are():
    once, twice = make(), make(scale=3.0, trial=2, predicted=(0, 1, 0, 0, 1, 0))
    row, places = class_mean([once, twice], 1)
    assert places.tolist() == [1, 3]
    # Person 1 was right in both trials (mean scale 2), person 3 in the first alone.
    np.testing.assert_allclose(row, np.array([1.0, 0.0, 2.0]) * 1.5)
    assert set(person_means([once, twice], 1)) == {1, 3, 5}


def test_folds_that_agree():
    rows = fold_differences([make(), make(trial=2)], (0, 1))
    assert rows.shape == (4, 3)
    share, correlation = agreement(rows)
    np.testing.assert_allclose(share, 1.0)
    assert correlation == pytest.approx(1.0)


def test_folds_without_both_classes_are_no_difference():
    one_sided = make()
    lonely = SaliencyMaps(
        one_sided.places, one_sided.labels, one_sided.predicted, one_sided.maps, np.arange(6), one_sided.trial
    )
    assert fold_differences([lonely], (0, 1)).shape == (0, 3)
    np.testing.assert_allclose(difference([lonely], (0, 1)), [0.0, -2.0, 4.0])


def test_maps_without_classes_are_compared_as_they_are():
    labels = np.array([0, 0, 1, 1])
    maps = np.array([[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 2.0]], [[1.0, 2.0]]])
    attention = SaliencyMaps(np.arange(4), labels, labels, maps, np.ones(4, dtype=int))
    np.testing.assert_allclose(difference([attention], (0, 1)), [0.0, 2.0])
    assert not attention.by_class


def test_joining_keeps_the_order_of_folds():
    whole = make()
    parts = [
        SaliencyMaps(
            *(getattr(whole, name)[whole.fold == fold] for name in ("places", "labels", "predicted", "maps", "fold"))
        )
        for fold in (1, 2)
    ]
    np.testing.assert_array_equal(join_folds(parts).maps, whole.maps)
