from __future__ import annotations

import numpy as np
import pytest
import torch

from migxai.errors import InputError, UsageError
from migxai.learning.augmentation import Augmentation, apply, draw
from migxai.learning.backbones import make_head
from migxai.learning.feature_store import ModelInputs
from migxai.learning.heads import dropout_factors
from migxai.learning.slices import to_pixels
from migxai.learning.training import DeepEstimator, Schedule, _epoch_images, class_weights, predict_head, train_head
from tests.learning.networks import SLICES, backbone, geometry, planes, settings, subjects, write_store

ROWS, LABELS = np.arange(4), np.array([0, 1, 0, 1])
#: The last one's head is that of ViT-B/16, narrower.
NETWORKS = ["resnet18", "googlenet", "timm:vit_tiny_patch16_224"]


def view_of(row: int, view: int, shift: float = 0.0) -> torch.Tensor:
    """All slices of a subject in one view, (S, 1, H, W)."""
    options = settings()
    how = Augmentation(options.crop, options.rotation, options.augment_flip)
    pixels = torch.from_numpy(to_pixels(planes(4, shift=shift)[row], geometry())).unsqueeze(1)
    return apply(pixels, draw(how, seed=0, subject=subjects(4)[row], view=view, slices=SLICES))


class Naive:
    """Runs the trunk for every image each time it is asked for, as training without a store does."""

    slices, views = SLICES, 2

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches = []

    def batch(self, rows, slices, views):
        chosen = zip(rows.tolist(), slices.tolist(), views.tolist(), strict=True)
        images = torch.stack([view_of(row, view)[place] for row, place, view in chosen])
        self.batches.append((images, rows))
        # A copy: what was made in inference mode takes no part in a gradient.
        return {name: item.clone() for name, item in backbone(self.name).features(images).items()}


class Exact:
    """The store's content before it is rounded to 16 bits: the trunk's output for whole subjects and views."""

    slices, views = SLICES, 2

    def __init__(self, name: str, shift: float = 0.0) -> None:
        places = [(row, view) for row in range(4) for view in range(3)]
        self.made = {place: backbone(name).features(view_of(*place, shift)) for place in places}

    def batch(self, rows, slices, views):
        chosen = list(zip(rows.tolist(), slices.tolist(), views.tolist(), strict=True))
        names = self.made[0, 0]
        return {name: torch.stack([self.made[row, view][name][place] for row, place, view in chosen]) for name in names}


def new_head(name: str, seed: int = 0) -> torch.nn.Module:
    return make_head(backbone(name).split, 2, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NETWORKS)
def test_cached_training_is_naive_training(name):
    """In 32 bits, the same views in the same order: parameters after an epoch differ by rounding alone."""
    cached, naive = new_head(name), new_head(name)
    schedule = Schedule(epochs=1, batch_size=4)
    for head, source in ((cached, Exact(name)), (naive, Naive(name))):
        train_head(head, source, ROWS, LABELS, schedule, 5)
    for (key, one), other in zip(cached.state_dict().items(), naive.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_a_head_is_training_the_whole_network(name):
    """The library's own modules, of which all but the trained ones are frozen in evaluation mode, by autograd."""
    head, source = new_head(name), Naive(name)
    whole = backbone(name).assemble(head).requires_grad_(False)
    schedule = Schedule(epochs=1, batch_size=4, dropout=0.0, class_weights="none", feature_norm="none")
    train_head(head, source, ROWS, LABELS, schedule, 5)
    for place in backbone(name).split.modules.values():
        whole.get_submodule(place).train().requires_grad_()
    learning = [parameter for parameter in whole.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(learning, lr=schedule.learning_rate, momentum=0.9, weight_decay=schedule.weight_decay)
    for images, rows in source.batches:
        logits = whole(backbone(name).normalise(images))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS[rows])).backward()
        optimiser.step()
    assert len(source.batches) == 2
    expected = backbone(name).assemble(head).state_dict()
    for key, tensor in whole.state_dict().items():
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_standardising_is_batch_normalisation_before_the_classifier(name):
    """torch's own module in front of the classifier, trained by torch's own optimiser; afterwards the logits agree."""
    head, source = new_head(name), Naive(name)
    normed = new_head(name).to(memory_format=torch.channels_last)
    width = normed.classifier.in_features
    normed.classifier = torch.nn.Sequential(torch.nn.BatchNorm1d(width, affine=False, momentum=None), normed.classifier)
    schedule = Schedule(epochs=2, batch_size=5, dropout=0.0, class_weights="none")
    train_head(head, source, ROWS, LABELS, schedule, 5)
    optimiser = torch.optim.SGD(normed.parameters(), lr=1e-3, momentum=0.9, weight_decay=schedule.weight_decay)
    for images, rows in source.batches:
        features = {key: item.clone() for key, item in backbone(name).features(images).items()}
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(normed(features), torch.from_numpy(LABELS[rows])).backward()
        optimiser.step()
    features = backbone(name).features(view_of(0, 0))
    with torch.inference_mode():
        torch.testing.assert_close(head(features), normed.eval()(features), rtol=0, atol=1e-4)
    assert not any(key.startswith("standard") for key in head.state_dict()), "it is part of the classifier now"


@pytest.mark.parametrize(("images", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (1, [1])])
def test_no_image_is_a_batch_by_itself(images, sizes):
    class Slices:
        slices, views = images, 0

    drawn = list(_epoch_images(np.array([3]), np.array([1]), Slices(), 4, np.random.default_rng(0)))
    assert [len(rows) for rows, *_ in drawn] == sizes
    assert sorted(np.concatenate([places for _, places, *_ in drawn])) == list(range(images))


def test_a_batch_of_one_image_cannot_be_standardised():
    with pytest.raises(UsageError, match="--batch-size, or --feature-norm none"):
        train_head(new_head("resnet18"), Exact("resnet18"), ROWS, LABELS, Schedule(batch_size=1), 5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_16_bit_store_gives_the_probabilities_of_32_bits(tmp_path, name):
    """Files of 16 bits against 32 bits throughout; means over a subject's slices."""
    store, _ = write_store(tmp_path, name, settings(), 4, shift=0.5)
    schedule = Schedule(epochs=3, batch_size=4)
    found = []
    for source in (store, Exact(name, shift=0.5)):
        head = new_head(name)
        train_head(head, source, ROWS, LABELS, schedule, 5)
        found.append(predict_head(head, source, ROWS).mean(axis=1))
    assert np.abs(found[0] - found[1]).max() < 0.02


def test_the_same_bits_twice_and_others_with_another_seed(tmp_path):
    store, _ = write_store(tmp_path, "resnet18", settings(), 4)
    heads = []
    for seed in (5, 5, 6):
        heads.append(new_head("resnet18"))
        torch.rand(3)  # whatever else draws from torch's global state changes nothing
        train_head(heads[-1], store, ROWS, LABELS, Schedule(epochs=2, batch_size=4), seed)
    first, again, other = (torch.cat([item.flatten() for item in head.parameters()]) for head in heads)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_test_subjects_are_never_read_nor_those_held_out_learned_from(tmp_path):
    store, _ = write_store(tmp_path, "resnet18", settings(), 6)
    learned, judged = set(), set()

    class Watched:
        slices, views = store.slices, store.views

        def batch(self, rows, slices, views):
            (judged if torch.is_inference_mode_enabled() else learned).update(rows.tolist())
            return store.batch(rows, slices, views)

    rows, labels = np.array([0, 1, 5, 4]), np.array([0, 1, 1, 0])
    train_head(new_head("resnet18"), Watched(), rows, labels, Schedule(epochs=2, batch_size=4), 1)
    assert learned == set(rows.tolist())
    assert not judged
    learned.clear()
    schedule = Schedule(epochs=2, batch_size=4, epoch_choice="inner")
    history = train_head(new_head("resnet18"), Watched(), rows, labels, schedule, 1)
    assert len(history.losses) == len(history.inner_losses) == 2
    assert not learned & judged
    assert learned | judged == set(rows.tolist())
    assert sorted(labels[np.isin(rows, list(judged))]) == [0, 1], "one of each class"


def test_the_chosen_epoch_has_the_least_inner_loss(tmp_path):
    store, _ = write_store(tmp_path, "resnet18", settings(), 4)
    head = new_head("resnet18")
    schedule = Schedule(epochs=4, batch_size=2, epoch_choice="inner", learning_rate=0.05)
    history = train_head(head, store, ROWS, LABELS, schedule, 1)
    assert history.chosen == int(np.argmin(history.inner_losses)) + 1


def test_divergence_is_said(tmp_path):
    store, _ = write_store(tmp_path, "resnet18", settings(), 4)
    with pytest.raises(UsageError, match=r"diverged in epoch .* Lower --learning-rate"):
        train_head(new_head("resnet18"), store, ROWS, LABELS, Schedule(epochs=9, learning_rate=1e30), 1)


def test_class_weights():
    labels = np.array([0, 0, 0, 1])
    assert class_weights(labels, 2, "none").tolist() == [1, 1]
    assert class_weights(labels, 2, "balanced").tolist() == pytest.approx([4 / 6, 2])
    assert class_weights(labels, 3, "balanced")[2] == 0


def test_dropout_keeps_the_mean_and_follows_its_generator():
    factors = dropout_factors((2000, 10), 0.25, torch.Generator().manual_seed(0))
    assert factors.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert abs(float(factors.mean()) - 1) < 0.02
    assert torch.equal(factors, dropout_factors((2000, 10), 0.25, torch.Generator().manual_seed(0)))
    assert dropout_factors((2, 2), 0.0, torch.Generator()) is None


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
