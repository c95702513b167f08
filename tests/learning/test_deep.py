from __future__ import annotations

import numpy as np
import pytest

from migxai.errors import InputError
from migxai.learning.deep import DeepEstimator
from migxai.learning.inputs import ModelInputs
from tests.learning.networks import SLICES, settings, subjects, write_store

ROWS, LABELS = np.array([0, 1, 2, 3]), np.array([0, 1, 0, 1])


def inputs_of(folder, count=6, shift=0.6, name="resnet18"):
    store, _ = write_store(folder, name, settings(), count, shift=shift)
    nothing = np.zeros((count, 0))
    return ModelInputs(subjects(count), nothing, nothing, (), store)


def estimator(name="resnet18", classes=2, **changes):
    return DeepEstimator(name, settings(epochs=8, learning_rate=0.01, **changes), n_classes=classes, seed=3)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "timm:vit_tiny_patch16_224"])
def test_a_plain_difference_is_learned(tmp_path, name):
    inputs = inputs_of(tmp_path, name=name)
    fitted = estimator(name).fit(inputs, ROWS, LABELS)
    made = fitted.predict(inputs, np.array([4, 5]))
    assert made.shape == (2, SLICES, 2)
    np.testing.assert_allclose(made.sum(axis=2), 1)
    assert made.mean(axis=1)[1, 1] > made.mean(axis=1)[0, 1]


def test_a_restored_head_predicts_the_same(tmp_path):
    inputs = inputs_of(tmp_path)
    fitted = estimator().fit(inputs, ROWS, LABELS)
    again = estimator().restore(fitted.tensors())
    np.testing.assert_array_equal(fitted.predict(inputs, ROWS), again.predict(inputs, ROWS))
    with pytest.raises(InputError):
        estimator(classes=3).restore(fitted.tensors())


@pytest.mark.parametrize("choice", ["last", "inner"])
def test_test_subjects_change_nothing_that_is_fitted(tmp_path, choice):
    inputs = inputs_of(tmp_path)
    before = estimator(epoch_choice=choice).fit(inputs, ROWS, LABELS).tensors()
    for row in (4, 5):
        inputs.store._files[row] = np.full_like(inputs.store._files[row], np.nan)
    after = estimator(epoch_choice=choice).fit(inputs, ROWS, LABELS).tensors()
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])
    assert np.isnan(estimator().restore(after).predict(inputs, np.array([4]))).all(), "those rows were altered"


def test_features_of_another_network_are_refused(tmp_path):
    inputs = inputs_of(tmp_path)
    with pytest.raises(InputError, match="resnet18 cut at last-conv"):
        estimator("googlenet").fit(inputs, ROWS, LABELS)
    with pytest.raises(InputError, match="no network"):
        estimator().fit(ModelInputs(inputs.subjects, inputs.regions, inputs.nuisance, ()), ROWS, LABELS)


def test_it_must_be_fitted_first(tmp_path):
    with pytest.raises(ValueError, match="neither fitted nor restored"):
        estimator().predict(inputs_of(tmp_path), ROWS)
