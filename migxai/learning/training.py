"""Networks on slices: heads are trained on frozen features by stochastic gradient descent, the same bits everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from migxai.config import Learning
from migxai.errors import InputError, UsageError
from migxai.learning.backbones import find_split, make_head
from migxai.learning.devices import choose_device, single_thread
from migxai.learning.feature_store import ModelInputs
from migxai.learning.heads import Head, dropout_factors, from_arrays, to_arrays
from migxai.learning.splits import inner_split
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from migxai.learning.family import Split
    from migxai.learning.feature_store import FeatureStore


class DeepEstimator:
    """A pretrained network of which the last layer or block and the classifier are trained anew.

    Of `settings`, ``unfreeze``, ``device`` and those of training matter; `seed` decides first weights, held-out
    subjects, order, views and dropout. `history` tells what happened in training; it is None before.
    """

    level: Literal["slice", "subject"] = "slice"

    def __init__(self, name: str, settings: Learning, *, n_classes: int, seed: int) -> None:
        self.name = name
        self.history: History | None = None
        self._settings = settings
        self._n_classes = n_classes
        self._seed = seed
        self._head: Head | None = None

    @property
    def split(self) -> Split:
        """Where the network is cut."""
        return find_split(self.name, self._settings.unfreeze)

    def fit(self, inputs: ModelInputs, rows: IntArray, labels: IntArray) -> Self:
        """Train a new head on the features of some subjects; see `Estimator.fit`.

        Raises InputError if the store is absent or holds features of another network, and what `train_head` raises.
        """
        store = self._store(inputs)
        self._head = self._new_head()
        schedule = Schedule.of(self._settings)
        device = choose_device(self._settings.device)
        self.history = train_head(self._head, store, np.asarray(rows), np.asarray(labels), schedule, self._seed, device)
        store.release()
        return self

    def predict(self, inputs: ModelInputs, rows: IntArray) -> FloatArray:
        """Return class probabilities of every slice without augmentation, (n, S, C)."""
        store = self._store(inputs)
        made = predict_head(self.head_module(), store, np.asarray(rows), choose_device(self._settings.device))
        store.release()
        return made

    def tensors(self) -> dict[str, FloatArray]:
        """Return the trained head as named arrays, without its counters of batches."""
        return dict(to_arrays(self.head_module()))

    def restore(self, tensors: dict[str, FloatArray]) -> Self:
        """Take on a trained head; one of another network, split or number of classes raises InputError."""
        head = self._new_head()
        from_arrays(head, tensors)
        self._head = head.eval()
        return self

    def head_module(self) -> Head:
        """Return the trained head in evaluation mode on the CPU, for explanations."""
        if self._head is None:
            raise ValueError("the estimator is neither fitted nor restored")
        return self._head

    def _new_head(self) -> Head:
        seed = np.random.SeedSequence([self._seed, 1]).generate_state(1, np.uint64)[0]
        return make_head(self.split, self._n_classes, torch.Generator().manual_seed(int(seed)))

    def _store(self, inputs: ModelInputs) -> FeatureStore:
        store = inputs.store
        if store is None or store.split != self.split:
            held = "no network" if store is None else f"{store.split.network} cut at {store.split.unfreeze}"
            raise InputError(
                f"{self.name} (cut at {self.split.unfreeze}) was given the frozen features of {held}: the group level "
                "must make its features first."
            )
        return store


class FeatureSource(Protocol):
    """Where the features of images come from: a `FeatureStore`, or a trunk that makes them each time."""

    @property
    def slices(self) -> int:
        """Slices of a subject, S."""
        ...

    @property
    def views(self) -> int:
        """Augmented views beside the clean one, V."""
        ...

    def batch(self, rows: IntArray, slices: IntArray, views: IntArray) -> Mapping[str, Tensor]:
        """Return features (B, ...), float32, by name."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How a head is trained; see `Learning` for the fields."""

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    class_weights: Literal["balanced", "none"] = "balanced"
    epoch_choice: Literal["last", "inner"] = "last"
    feature_norm: Literal["batch", "none"] = "batch"

    @classmethod
    def of(cls, settings: Learning) -> Schedule:
        """Take from all options what concerns training."""
        return cls(**{name: getattr(settings, name) for name in cls.__dataclass_fields__})


@dataclass
class History:
    """What happened while a head was trained.

    `losses` are the mean losses over the training images of each epoch, as they were seen; `inner_losses` those on the
    held-out training subjects after each epoch, empty unless they choose the epoch. The weights of epoch `chosen`, from
    1, were kept.
    """

    losses: list[float] = field(default_factory=list)
    inner_losses: list[float] = field(default_factory=list)
    chosen: int = 0


def train_head(
    head: Head,
    source: FeatureSource,
    rows: IntArray,
    labels: IntArray,
    schedule: Schedule,
    seed: int,
    device: torch.device | None = None,
) -> History:
    """Train a head in place.

    In an epoch every slice of every subject is seen once, in one of its augmented views (in the clean one if there are
    none), all in random order. With ``feature_norm="batch"`` the classifier learns on standardised features; what comes
    out is the same kind of head all the same (see `Head.standardise`).

    `rows` and `labels` are the subjects to learn from, (n,), and their classes; `seed` decides held-out subjects, the
    order, the views and dropout; without a `device` it is the CPU.

    Raises
    ------
    UsageError
        If the loss is no longer finite, or a batch is too small to be standardised.
    InputError
        If an epoch is to be chosen and a class has one subject only.
    """
    device = device or torch.device("cpu")
    # Independent streams of random numbers for what training draws.
    inner_stream, order_stream, dropout_stream = np.random.SeedSequence(seed).spawn(3)
    order = np.random.default_rng(order_stream)
    dropout = torch.Generator().manual_seed(int(dropout_stream.generate_state(1, np.uint64)[0]))
    held = np.zeros(len(rows), dtype=bool)
    if schedule.epoch_choice == "inner":
        held[inner_split(labels, int(inner_stream.generate_state(1)[0]))[1]] = True
    weights = class_weights(labels[~held], head.classifier.out_features, schedule.class_weights)
    history, kept = History(), {}
    if schedule.feature_norm == "batch":
        if schedule.batch_size < 2:
            raise UsageError("A batch of one image has no spread: give a larger --batch-size, or --feature-norm none.")
        head.standardise()
    with single_thread():
        head.to(device).to(memory_format=torch.channels_last)
        optimiser = _optimiser(head, schedule)
        for epoch in range(1, schedule.epochs + 1):
            images = _epoch_images(rows[~held], labels[~held], source, schedule.batch_size, order)
            loss = _train_epoch(head, source, images, optimiser, weights.to(device), schedule, dropout)
            _require_finite(loss, epoch, schedule)
            history.losses.append(loss)
            if held.any():
                inner = _inner_loss(head, source, rows[held], labels[held], weights)
                if not history.inner_losses or inner < min(history.inner_losses):
                    history.chosen = epoch
                    kept = {name: tensor.clone() for name, tensor in head.state_dict().items()}
                history.inner_losses.append(inner)
        if kept:
            head.load_state_dict(kept)
        else:
            history.chosen = schedule.epochs
    head.fold()
    head.to("cpu").eval()
    return history


def _optimiser(head: Head, schedule: Schedule) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        head.parameters(),
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=True,
    )


def _require_finite(loss: float, epoch: int, schedule: Schedule) -> None:
    if not np.isfinite(loss):
        raise UsageError(
            f"The training diverged in epoch {epoch}: its loss is {loss}. Lower --learning-rate (now "
            f"{schedule.learning_rate:g})."
        )


def predict_head(
    head: Head, source: FeatureSource, rows: IntArray, device: torch.device | None = None
) -> NDArray[np.float64]:
    """Return the probabilities of classes for the clean view of every slice, (n, S, C).

    Subject by subject, so what else is predicted changes no bit.
    """
    device = device or torch.device("cpu")
    head.to(device).to(memory_format=torch.channels_last).eval()
    made = np.empty((len(rows), source.slices, head.classifier.out_features))
    with single_thread(), torch.inference_mode():
        for index, row in enumerate(rows.tolist()):
            made[index] = _logits(head, source, row, device).double().softmax(dim=1).cpu().numpy()
    head.to("cpu")
    return made


def class_weights(labels: IntArray, n_classes: int, mode: Literal["balanced", "none"]) -> Tensor:
    """Return a weight for each class, (C,): n / (C n_c) if balanced, 0 for a class without subjects, else 1."""
    counts = np.bincount(labels, minlength=n_classes)
    if mode == "none":
        return torch.ones(n_classes)
    weights = np.divide(len(labels), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)
    return torch.from_numpy(weights).float()


def _epoch_images(
    rows: IntArray, labels: IntArray, source: FeatureSource, batch_size: int, generator: np.random.Generator
) -> Iterator[tuple[IntArray, IntArray, IntArray, IntArray]]:
    """Draw the batches of an epoch: rows, slices, views and labels, (B,) each.

    An image that would be left over alone joins the last batch, since by itself it could not be standardised.
    """
    count = len(rows) * source.slices
    order = generator.permutation(count)
    views = generator.integers(1, source.views + 1, count) if source.views else np.zeros(count, dtype=np.int64)
    starts = [*range(0, count - 1, batch_size), count] if count > 1 else [0, count]
    for start, stop in pairwise(starts):
        subjects, slices = np.divmod(order[start:stop], source.slices)
        yield rows[subjects], slices, views[start:stop], labels[subjects]


def _train_epoch(
    head: Head,
    source: FeatureSource,
    images: Iterator[tuple[IntArray, IntArray, IntArray, IntArray]],
    optimiser: torch.optim.Optimizer,
    weights: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
) -> float:
    """Take one step a batch; return the mean loss over images."""
    head.train()
    device, width = weights.device, head.classifier.in_features
    total, seen = 0.0, 0
    for rows, slices, views, labels in images:
        features = {name: tensor.to(device) for name, tensor in source.batch(rows, slices, views).items()}
        keep = dropout_factors((len(rows), width), schedule.dropout, generator)
        logits = head(features, None if keep is None else keep.to(device))
        loss = functional.cross_entropy(logits, torch.from_numpy(labels).long().to(device), weight=weights)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        total, seen = total + float(loss.detach()) * len(rows), seen + len(rows)
    return total / seen


@torch.inference_mode()
def _inner_loss(head: Head, source: FeatureSource, rows: IntArray, labels: IntArray, weights: Tensor) -> float:
    """Return the loss on the clean view of subjects, classes weighted as in training."""
    head.eval()
    device = head.classifier.weight.device
    total, scale = 0.0, 0.0
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        losses = -_logits(head, source, row, device).log_softmax(dim=1)[:, label]
        total += float(losses.mean()) * float(weights[label])
        scale += float(weights[label])
    return total / scale


def _logits(head: Head, source: FeatureSource, row: int, device: torch.device) -> Tensor:
    """Return logits of the clean view of a subject's slices, (S, C)."""
    slices = np.arange(source.slices)
    features = source.batch(np.full_like(slices, row), slices, np.zeros_like(slices))
    logits: Tensor = head({name: tensor.to(device) for name, tensor in features.items()})
    return logits
