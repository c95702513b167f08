"""A network on slices: its head is trained on the frozen features of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from migxai.config import Learning
from migxai.errors import InputError
from migxai.learning.backbones import find_split, make_head
from migxai.learning.devices import choose_device
from migxai.learning.inputs import ModelInputs
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.learning.backbones.base import Split
    from migxai.learning.heads import Head
    from migxai.learning.inputs import FeatureStore
    from migxai.learning.training import History


class DeepEstimator:
    """A pretrained network of which the last layer or block and the classifier are trained anew.

    Parameters
    ----------
    name
        Of the network.
    settings
        All options; ``unfreeze``, ``device`` and those of training matter.
    n_classes
        Number of classes, C.
    seed
        Of first weights, held-out subjects, order, views and dropout.

    Attributes
    ----------
    history
        What happened in training; None before it.
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

        Raises
        ------
        InputError
            If the store is absent or holds features of another network.
        UsageError
            If the training diverges.
        """
        from migxai.learning.training import Schedule, train_head

        store = self._store(inputs)
        self._head = self._new_head()
        schedule = Schedule.of(self._settings)
        device = choose_device(self._settings.device)
        self.history = train_head(self._head, store, np.asarray(rows), np.asarray(labels), schedule, self._seed, device)
        store.release()
        return self

    def predict(self, inputs: ModelInputs, rows: IntArray) -> FloatArray:
        """Return class probabilities of every slice without augmentation, (n, S, C)."""
        from migxai.learning.training import predict_head

        store = self._store(inputs)
        made = predict_head(self.head_module(), store, np.asarray(rows), choose_device(self._settings.device))
        store.release()
        return made

    def tensors(self) -> dict[str, FloatArray]:
        """Return the trained head as named arrays, without its counters of batches."""
        from migxai.learning.heads import to_arrays

        return dict(to_arrays(self.head_module()))

    def restore(self, tensors: dict[str, FloatArray]) -> Self:
        """Take on a trained head.

        Raises
        ------
        InputError
            If it is of another network, split or number of classes.
        """
        from migxai.learning.heads import from_arrays

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
        import torch

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
