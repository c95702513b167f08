"""Maps of our own heads from cached features, without running a network.

Where a classifier reads the mean of maps A over h x w cells, the gradient of a target ``sum_c u_c logit_c`` at every
cell of map k is ``w_k / (h w)`` with ``w = sum_c u_c W_c``. So every formula of activations and gradients can be filled
in at once: Grad-CAM and HiResCAM are ``sum_k w_k A_k / (h w)``, LayerCAM has ``max(w_k, 0)``, the paper's has
``|w_k A_k|``.
Values are on pytorch-grad-cam's own scale before it stretches each image's map to 0..1; those of HiResCAM add up to the
target less its bias.

A transformer's head is small enough to be differentiated as it stands: with respect to what its first normalisation
gives, since the gradient of the patch tokens at the last block's output is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from migxai.errors import UsageError
from migxai.explain.methods import METHODS
from migxai.explain.receptive_fields import ReceptiveFields, find_receptive_fields
from migxai.explain.targets import Target
from migxai.learning.backbones import pooled_layer
from migxai.learning.devices import single_thread
from migxai.learning.timm_networks import TokenHead
from migxai.metrics.types import IntArray

if TYPE_CHECKING:
    from migxai.explain.methods import CamMethod
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.family import Split
    from migxai.learning.heads import Features, Head
    from migxai.learning.inputs import FeatureStore


def explain(head: Head, features: Features, split: Split, method: CamMethod, target: Target) -> Tensor:
    """Make maps of some images.

    Parameters
    ----------
    head
        Trained, in evaluation mode.
    features
        Features of the images' clean view, as `FeatureStore.clean` returns them.
    split
        Where the network is cut.
    method, target
        What maps to make, and of what. Attention and Eigen-CAM do not depend on the target.

    Returns
    -------
    torch.Tensor
        (B, h, w), with the sign that the formula gives; the usual map is the positive part.

    Raises
    ------
    UsageError
        If the method does not fit the network.
    """
    transformer = head if isinstance(head, TokenHead) else None
    if method.attend is not None:
        if transformer is None and "attention" not in features:
            raise UsageError(
                f"--cam {method.name} reads a transformer's attention, and {split.network} has none in its store; "
                "use gradcam."
            )
        with torch.inference_mode():
            return as_grid(method.attend(transformer, features)[:, 1:, None], split)[:, 0]
    if method.combine is None:
        raise UsageError(
            f"--cam {method.name} looks at the intact network, of which the store holds the last layer only."
        )
    if transformer is not None:
        return _explain_tokens(transformer, features, split, method.combine, target)
    if "attention" in features:
        raise UsageError(
            f"--cam {method.name} needs gradients within the last block of {split.network}, which is frozen "
            "(--unfreeze linear): use --cam attention or rollout, or train the block."
        )
    with torch.inference_mode():
        maps = head.maps(features)
        logits = head.classifier(maps.mean(dim=(2, 3)))
        direction = target.coefficients(logits) @ head.classifier.weight
        cells = maps.shape[2] * maps.shape[3]
        return method.combine(maps, (direction / cells)[:, :, None, None].expand_as(maps))


def explain_people(
    head: Head, store: FeatureStore, rows: IntArray, method: str, space: SliceSpace, n_classes: int
) -> NDArray[np.float32]:
    """Make a model's maps of some people.

    Each class's map explains its margin, its logit less the mean of the others': the probabilities of a softmax know
    nothing else.

    Parameters
    ----------
    head
        Trained on others than these people.
    store
        Features of the network that it belongs to.
    rows
        The people, (n,).
    method
        A key of `migxai.explain.methods.METHODS`.
    space
        The voxels that slices show.
    n_classes
        Number of classes, C.

    Returns
    -------
    numpy.ndarray
        (n, C, V), with the sign that the formula gives; (n, 1, V) where the method does not depend on the class.

    Raises
    ------
    UsageError
        If the method does not fit the network.
    """
    found, slices, made = METHODS[method], np.arange(store.slices), []
    with single_thread():
        for row in np.asarray(rows).tolist():
            features = store.clean(np.full(store.slices, row), slices)
            made.append(explain_classes(head, features, store.split, found, n_classes, space.rows))
    store.release()
    return np.stack(made)


def explain_classes(
    head: Head,
    features: Features,
    split: Split,
    method: CamMethod,
    n_classes: int,
    at_voxels: Callable[[NDArray[np.float32], ReceptiveFields], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Make maps of each class's margin from the features of some images, as `explain` does.

    Parameters
    ----------
    head, features, split, method
        As `explain` takes them.
    n_classes
        Number of classes, C.
    at_voxels
        Brings maps (B, h, w), which look where the second argument says, to V voxels.

    Returns
    -------
    numpy.ndarray
        (C, V); (1, V) where the method does not depend on the class.
    """

    def of(target: Target) -> NDArray[np.float32]:
        maps = explain(head, features, split, method, target).numpy()
        return at_voxels(maps, pooled_receptive_fields(split, maps.shape[-1]))

    return class_maps(method, n_classes, of)


def class_maps(
    method: CamMethod, n_classes: int, explain_target: Callable[[Target], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Put maps (..., V) of each class's margin together, (..., C, V); (..., 1, V) if the method knows no classes."""
    if not method.by_class:
        return explain_target(Target())[..., None, :]
    if method.signed and n_classes == 2:
        # What speaks for the one class speaks against the other.
        first = explain_target(Target(of=0, margin=True))
        return np.stack([first, -first], axis=-2)
    return np.stack([explain_target(Target(of=label, margin=True)) for label in range(n_classes)], axis=-2)


def pooled_receptive_fields(split: Split, count: int) -> ReceptiveFields:
    """Say where in the picture the maps look that `explain` makes, of `count` values along an edge."""
    return find_receptive_fields(split, pooled_layer(split), count)


def as_grid(tokens: Tensor, split: Split) -> Tensor:
    """See patches (B, N, D) as maps (B, D, h, w)."""
    rows, columns = int(split.details["rows"]), int(split.details["columns"])
    return tokens.reshape(len(tokens), rows, columns, -1).permute(0, 3, 1, 2)


def _explain_tokens(
    head: TokenHead, features: Features, split: Split, combine: Callable[[Tensor, Tensor], Tensor], target: Target
) -> Tensor:
    with torch.no_grad():
        # Features made in inference mode may not enter a differentiation.
        scaled, cls = head.scaled(features).clone(), features["cls"].clone()
    scaled.requires_grad_()
    logits = head.from_scaled(scaled, cls)
    wanted = (target.coefficients(logits.detach()) * logits).sum()
    gradients = torch.autograd.grad(wanted, scaled)[0]
    with torch.inference_mode():
        return combine(*(as_grid(each.detach()[:, 1:], split) for each in (scaled, gradients)))
