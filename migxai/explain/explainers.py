"""Maps of single people: of our own heads from cached features, or of any intact network by pytorch-grad-cam.

Where a classifier reads the mean of maps A over h x w cells, the gradient of a target ``sum_c u_c logit_c`` at every
cell of map k is ``w_k / (h w)`` with ``w = sum_c u_c W_c``. So every formula of activations and gradients can be filled
in at once, without running a network: Grad-CAM and HiResCAM are ``sum_k w_k A_k / (h w)``, LayerCAM has
``max(w_k, 0)``, the paper's has ``|w_k A_k|``. Values are on pytorch-grad-cam's own scale before it stretches each
image's map to 0..1; those of HiResCAM add up to the target less its bias. A transformer's head is small enough to be
differentiated as it stands: with respect to what its first normalisation gives, since the gradient of the patch tokens
at the last block's output is zero.

All other networks and layers run in pytorch-grad-cam, without its test-time augmentation. The library's own call
stretches each image's map to 0..1, so a slice in which nothing speaks for a class would glow as strongly as the one
that decides; and its smoothing flips images, which swaps the hemispheres. Here its formulas and hooks are used, and
maps come as the formulas give them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from migxai.errors import UsageError
from migxai.explain.methods import METHODS
from migxai.explain.targets import Target, find_layer, watch
from migxai.explain.volumes import ReceptiveFields, find_receptive_fields
from migxai.learning.backbones import pooled_layer
from migxai.learning.devices import single_thread
from migxai.learning.layers import as_maps, map_layout
from migxai.learning.slices import to_pixels
from migxai.learning.timm_networks import TokenHead
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.explain.methods import CamMethod
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.family import Split
    from migxai.learning.feature_store import FeatureStore
    from migxai.learning.heads import Features, Head


#: Pictures that go through a network, and back, together.
_BATCH = 10


def explain(head: Head, features: Features, split: Split, method: CamMethod, target: Target) -> Tensor:
    """Make maps of some images from the features of their clean view, as `FeatureStore.clean` returns them.

    (B, h, w), with the sign that the formula gives; the usual map is the positive part. Attention and Eigen-CAM do not
    depend on the target. The head is in evaluation mode. A `UsageError` says if the method does not fit the network.
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
    """Make a model's maps of some people, (n, C, V), from the store's features; see `NetworkExplainer`.

    Each class's map explains its margin, its logit less the mean of the others': the probabilities of a softmax know
    nothing else. (n, 1, V) where the method does not depend on the class. A `UsageError` says if it does not fit the
    network.
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
    """Make maps of each class's margin from the features of some images, as `explain` does: (C, V) or (1, V).

    `at_voxels` brings maps (B, h, w), which look where its second argument says, to V voxels.
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


def explain_network(
    network: nn.Module, images: Tensor, split: Split, method: str, target: Target, *, layer: str | None = None
) -> Tensor:
    """Make maps of some images at a layer, (B, h, w), with the sign that the formula gives.

    The network is intact, in evaluation mode, from `Backbone.assemble`; images are normalised, (B, 3, H, W). A layer
    (default: `default_layer`) whose output the network changes in place afterwards, such as a batch normalisation in
    front of a ReLU, shows what it was changed to. A `UsageError` says if there is no such layer, it gives no maps, or
    the method looks at attention.
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
            targets = [lambda logits, row=row: (logits * row).sum() for row in coefficients]
            made = cam(images.clone().requires_grad_(), targets)
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
    trained: IntArray,  # noqa: ARG001  (maps of pytorch-grad-cam compare a person with nobody)
    n_classes: int,
) -> NDArray[np.float32]:
    """Make a model's maps of some people by running the intact network, which every network and layer allows.

    As `explain_people`, which needs a store of what the maps are made of. With `method` it is a
    `migxai.explain.methods.NetworkExplainer`; `explain_network` and `default_layer` say what they refuse.
    """
    network, split = backbone.assemble(head), backbone.split
    name = default_layer(split)

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


def default_layer(split: Split) -> str:
    """Name the layer that a network's maps are usually made at, in the intact network.

    The one that feeds the pooling in front of the classifier; of a transformer, the first normalisation of the last
    block, since only the class token is read of what that block gives out. A `UsageError` says if it is not known.
    """
    if "block" in split.modules and "rows" in split.details:
        return f"{split.modules['block']}.norm1"
    if layer := pooled_layer(split):
        return layer
    raise UsageError(f"No layer of {split.network} gives maps of more than one place, so there is nothing to show.")


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
