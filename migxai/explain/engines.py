"""Maps of any intact network and layer by pytorch-grad-cam, without its test-time augmentation.

The library's own call stretches each image's map to 0..1, so a slice in which nothing speaks for a class would glow as
strongly as the one that decides; and its smoothing flips images, which swaps the hemispheres. Here its formulas and
hooks are used, and maps come as the formulas give them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from migxai.errors import UsageError
from migxai.explain.closed_form import as_grid
from migxai.explain.methods import METHODS
from migxai.explain.targets import Target, find_layer, watch
from migxai.learning.backbones import NETWORKS

if TYPE_CHECKING:
    from migxai.learning.backbones.base import Split


def explain_network(
    network: nn.Module, images: Tensor, split: Split, method: str, target: Target, *, layer: str | None = None
) -> Tensor:
    """Make maps of some images at a layer.

    Parameters
    ----------
    network
        Intact, in evaluation mode; `Backbone.assemble` makes it from a trained head.
    images
        Normalised, (B, 3, H, W).
    split
        Of the network.
    method
        A key of `migxai.explain.methods.METHODS` that looks at a layer's output.
    target
        What to explain.
    layer
        Its name in the network (default: `default_layer`). A layer whose output the network changes in place
        afterwards, such as a batch normalisation in front of a ReLU, shows what it was changed to.

    Returns
    -------
    torch.Tensor
        (B, h, w), with the sign that the formula gives; `migxai.explain.receptive_fields` says where
        in the picture cells lie.

    Raises
    ------
    UsageError
        If the layer does not exist or gives no maps, or the method looks at attention.
    """
    found = METHODS[method]
    if found.library is None:
        raise UsageError(
            f"--cam {method} is not made of one layer's output and gradients; pytorch-grad-cam has no such."
        )
    library = found.library()
    name = layer if layer is not None else default_layer(split)
    transform = (lambda tokens: as_grid(tokens[:, 1:], split)) if "rows" in split.details else None
    with torch.no_grad(), watch(network, [name]) as seen:
        coefficients = target.coefficients(network(images))
    _check_output(seen.get(name), name, transform)

    class AsItIs(library):  # type: ignore[misc, valid-type]
        def compute_cam_per_layer(self, input_tensor: Any, targets: Any, eigen_smooth: bool) -> Any:
            # The base class clips at zero and stretches to 0..1 here.
            held = self.activations_and_grads
            activations = held.activations[0].numpy()
            gradients = held.gradients[0].numpy() if held.gradients else None
            return self.get_cam_image(
                input_tensor, self.target_layers[0], targets, activations, gradients, eigen_smooth
            )

        def aggregate_multi_layers(self, cam_per_target_layer: Any) -> Any:
            return cam_per_target_layer

    cam = AsItIs(model=network, target_layers=[find_layer(network, name)], reshape_transform=transform)
    try:
        with torch.enable_grad():
            made = cam(images.clone().requires_grad_(), [_weighted(row) for row in coefficients])
    finally:
        cam.activations_and_grads.release()
    return torch.from_numpy(np.asarray(made, dtype=np.float32))


def default_layer(split: Split) -> str:
    """Name the layer that a network's maps are usually made at, in the intact network.

    The one that feeds the pooling in front of the classifier; of a transformer, the first normalisation of the last
    block, since only the class token is read of what that block gives out.

    Raises
    ------
    UsageError
        If it is not known.
    """
    if "block" in split.modules and "rows" in split.details:
        return f"{split.modules['block']}.norm1"
    if layer := NETWORKS[split.network].pooled_layer:
        return layer
    raise UsageError(f"Which layer of {split.network} feeds its classifier is not known here: name one.")


def _weighted(coefficients: Tensor) -> Callable[[Tensor], Tensor]:
    """Make a target as pytorch-grad-cam takes it."""

    def target(logits: Tensor) -> Tensor:
        return (logits * coefficients).sum()

    return target


def _check_output(output: Any, layer: str, transform: Callable[[Tensor], Tensor] | None) -> None:
    """Refuse a layer that gives no maps."""
    if isinstance(output, Tensor) and output.ndim == (4 if transform is None else 3):
        return
    what = f"a tensor of {output.ndim} dimensions" if isinstance(output, Tensor) else "nothing that maps are made of"
    wanted = "maps (batch, channels, rows, columns)" if transform is None else "tokens (batch, tokens, channels)"
    raise UsageError(f"The layer {layer!r} gives {what}, not {wanted}; choose another layer.")
