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
from numpy.typing import NDArray
from torch import Tensor, nn

from migxai.errors import UsageError
from migxai.explain.closed_form import class_maps
from migxai.explain.methods import METHODS
from migxai.explain.receptive_fields import find_receptive_fields
from migxai.explain.targets import Target, find_layer, watch
from migxai.learning.backbones import pooled_layer
from migxai.learning.devices import single_thread
from migxai.learning.layers import as_maps, map_layout
from migxai.learning.slices import to_pixels
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.explain.methods import NetworkExplainer
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.family import Split
    from migxai.learning.heads import Head

#: Pictures that go through a network, and back, together.
_BATCH = 10


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
        (B, h, w), with the sign that the formula gives; `migxai.explain.receptive_fields` says where in the picture
        they look.

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
    with torch.no_grad(), watch(network, [name]) as seen:
        coefficients = target.coefficients(network(images))
    transform = _check_output(seen.get(name), name)

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


def explain_people_by_network(
    backbone: Backbone,
    head: Head,
    planes: FloatArray,
    space: SliceSpace,
    *,
    method: str,
    rows: IntArray,
    n_classes: int,
    layer: str | None = None,
) -> NDArray[np.float32]:
    """Make a model's maps of some people by running the intact network, which every network and layer allows.

    As `migxai.explain.closed_form.explain_people`, which needs a store of what the maps are made of.

    Parameters
    ----------
    backbone
        The network that `head` belongs to.
    head
        Trained on others than these people.
    planes
        Everybody's slices, (N, S, H0, W0), 0 to 1.
    space
        The voxels that slices show.
    method, layer
        As in `explain_network`.
    rows
        The people, (n,).
    n_classes
        Number of classes, C.

    Returns
    -------
    numpy.ndarray
        (n, C, V), with the sign that the formula gives; (n, 1, V) where the method does not depend on the class.

    Raises
    ------
    UsageError
        As `explain_network` and `default_layer`.
    """
    network, split = backbone.assemble(head), backbone.split
    name = layer if layer is not None else default_layer(split)

    def at_voxels(target: Target) -> NDArray[np.float32]:
        made = []
        for row in np.asarray(rows).tolist():
            pixels = torch.from_numpy(to_pixels(np.asarray(planes[row]), space.geometry)).unsqueeze(1)
            batches = torch.split(backbone.normalise(pixels), _BATCH)
            maps = [explain_network(network, images, split, method, target, layer=name) for images in batches]
            made.append(torch.cat(maps).numpy())
        fields = find_receptive_fields(split, name, made[0].shape[-1])
        return space.rows(np.stack(made), fields)

    with single_thread():
        return class_maps(METHODS[method], n_classes, at_voxels)


def network_explainer(method: str) -> NetworkExplainer:
    """Return what explains people as `explain_people_by_network` does, at the default layer."""

    def explain(
        backbone: Backbone,
        head: Head,
        planes: FloatArray,
        space: SliceSpace,
        *,
        rows: IntArray,
        trained: IntArray,  # noqa: ARG001  (maps of pytorch-grad-cam compare a person with nobody)
        n_classes: int,
    ) -> NDArray[np.float32]:
        return explain_people_by_network(backbone, head, planes, space, method=method, rows=rows, n_classes=n_classes)

    return explain


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
    if layer := pooled_layer(split):
        return layer
    raise UsageError(f"No layer of {split.network} gives maps of more than one place, so there is nothing to show.")


def _weighted(coefficients: Tensor) -> Callable[[Tensor], Tensor]:
    """Make a target as pytorch-grad-cam takes it."""

    def target(logits: Tensor) -> Tensor:
        return (logits * coefficients).sum()

    return target


def _check_output(output: Any, layer: str) -> Callable[[Tensor], Tensor] | None:
    """Return what makes maps (B, K, h, w) of a layer's output; None if it gives them; refuse a layer that does not."""
    layout = map_layout(output) if isinstance(output, Tensor) else ""
    if not layout:
        shape = " x ".join(map(str, output.shape)) if isinstance(output, Tensor) else "nothing that maps are made of"
        raise UsageError(
            f"The layer {layer!r} gives {shape}, neither maps (batch, channels, rows, columns) nor tokens (batch, "
            "tokens, channels); choose another layer."
        )
    return None if layout == "channels-first" else as_maps
