"""The trained end of a network: from frozen features to logits, and to what class activation maps are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from migxai.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Features = Mapping[str, Tensor]


class Head(nn.Module):
    """What is trained: perhaps a last layer or block, then pooling, dropout and the classifier.

    Subclasses define `pooled`, and `maps` where the classifier reads the mean of maps: logit c is then
    ``bias_c + sum_k weight_ck mean(maps_k)``, which gives Grad-CAM in closed form.

    Parameters
    ----------
    width
        Numbers that the classifier reads, D.
    n_classes
        Number of classes, C.
    """

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.standard: nn.Module = nn.Identity()
        self.classifier = nn.Linear(width, n_classes)

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, D)."""
        raise NotImplementedError

    def maps(self, features: Features) -> Tensor:  # noqa: ARG002  (subclasses read them)
        """Return the maps whose mean the classifier reads, (B, D, h, w), with the clean view's features.

        Raises
        ------
        InputError
            If the classifier of this network does not read the mean of maps.
        """
        raise InputError(
            f"The classifier of this network ({type(self).__name__}) does not read the mean of maps, so there is no "
            "class activation map in closed form."
        )

    def forward(self, features: Features, keep: Tensor | None = None) -> Tensor:
        """Return logits, (B, C).

        Parameters
        ----------
        features
            By name, each (B, ...), float32.
        keep
            Dropout as a factor for each number that the classifier reads, (B, D), from `dropout_factors`. It is drawn
            outside, so that a seed decides it and not the state of the process.
        """
        pooled = self.standard(self.pooled(features))
        return cast(Tensor, self.classifier(pooled if keep is None else pooled * keep))

    def standardise(self) -> None:
        """Have what the classifier reads standardised by the batch's mean and variance, until `fold` is called.

        As for linear classifiers of frozen features in Doersch et al. 2015 and He et al. 2022 (batch normalisation that
        learns no scale and no shift). Frozen features have means many times their spread, and gradient descent on
        them as they are spends itself on the means.
        """
        self.standard = nn.BatchNorm1d(self.classifier.in_features, affine=False, momentum=None)

    def fold(self) -> None:
        """Put the mean standardisation of all batches seen into the classifier, which then reads features as before."""
        norm, self.standard = self.standard, nn.Identity()
        if not isinstance(norm, nn.BatchNorm1d):
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            self.classifier.weight.div_(torch.sqrt(norm.running_var + norm.eps))
            self.classifier.bias.sub_(self.classifier.weight @ norm.running_mean)


class LinearHead(Head):
    """The classifier alone, on pooled features (``pooled``); maps (``maps``) are there for explanations."""

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, D)."""
        return features["pooled"]

    def maps(self, features: Features) -> Tensor:
        """Return the maps whose mean the classifier reads, (B, D, h, w)."""
        if "maps" not in features:
            return super().maps(features)
        return channels_first(features["maps"])


def channels_first(maps: Tensor) -> Tensor:
    """See maps (B, h, w, K), as they are stored, as (B, K, h, w) in memory order "channels last", without a copy."""
    return maps.permute(0, 3, 1, 2)


def dropout_factors(shape: tuple[int, int], rate: float, generator: torch.Generator) -> Tensor | None:
    """Draw dropout: 0 with probability `rate`, else 1 / (1 - rate)."""
    if rate == 0:
        return None
    kept = torch.rand(shape, generator=generator) >= rate
    return kept.float() / (1.0 - rate)


def initialise(head: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of a head anew.

    Convolutions after He et al. 2015 (variance 2 / fan in), linear layers from a truncated normal of variance
    1 / fan in, biases 0; every normalisation scales by 1 and shifts by 0, with running mean 0 and variance 1. The
    classifier starts at a tenth of that, so that all classes start about equally likely.
    """
    for name, module in head.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw_weights(module, generator)
            if name == "classifier":
                with torch.no_grad():
                    module.weight.mul_(0.1)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()


def draw_weights(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Draw the weights of one layer such that it keeps the variance of what goes through it; biases are 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    else:
        sd = 1.0 / math.sqrt(module.in_features)
        nn.init.trunc_normal_(module.weight, std=sd, a=-2 * sd, b=2 * sd, generator=generator)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def to_arrays(head: nn.Module) -> dict[str, NDArray[np.floating]]:
    """Return all that a head has learned, as arrays by name."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().copy()
        for name, tensor in head.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def from_arrays(head: nn.Module, arrays: Mapping[str, NDArray[np.floating]]) -> None:
    """Set what `to_arrays` returned.

    Raises
    ------
    InputError
        If the arrays belong to another head.
    """
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    if expected != {name: tuple(tensor.shape) for name, tensor in state.items()}:
        raise InputError("The saved weights belong to another network, split or number of classes than the head does.")
    head.load_state_dict(state, strict=False)
