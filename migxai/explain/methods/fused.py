"""Fused layers: several layers of a network looked at together, for finer maps.

The layer that feeds the classifier has 7 x 7 cells, each about 32 mm wide: what lies within one cannot be told apart.
Earlier layers have smaller cells, 4 mm at the finest used here. But the gradient at an early layer is that of thousands
of paths through the network, each switched on or off by a ReLU or a pooling. Gradient times activation there shows
these switches more than the brain. Three things keep them out:

- A person is compared with the average picture of the people that the model was trained on, as the model's margin is
  compared with the margin of the average picture. What everybody has, which is most of a picture, then says nothing.
- Gradients are taken at the average picture, so that they are the same for everybody. They are averaged over as many
  places as one cell of the last layer sees. Averaged over all places it would be Grad-CAM, over none HiResCAM, and
  neither points at anything in an early layer.
- Maps of all layers are brought to the same voxels, each through the places where its own cells look. Each is divided
  by its own size before they are averaged. The average keeps the sign, and a place that only one layer points at.

That was chosen on simulated cohorts other than those that the benchmark reports; ``tests/benchmarks`` has the numbers.

The store of features holds nothing of early layers. So the intact network runs once for each picture, and backwards for
the average picture alone; `migxai.explain.explainers` needs no network at all.

A vision transformer has no coarser and finer layers: all its blocks have the same patches of 16 pixels. There is
nothing to fuse, and it is refused in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migxai.errors import UsageError
from migxai.explain.methods import CamMethod
from migxai.learning.backbones import NETWORKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from migxai.explain.targets import Target
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.family import Split
    from migxai.learning.heads import Head
    from migxai.metrics.types import FloatArray, IntArray

#: How many pictures go through a network together. What all layers keep of one for the way back fills some 50 MB.
_BATCH = 10


def fused_layers(split: Split) -> tuple[str, ...]:
    """Name the layers of a network that are fused, the finest first.

    Those of the built-in networks have cells of 4 (56 x 56), 8, 16 and 32 pixels. A picture's pixel is 1 mm on the
    usual grids; two places 10 mm apart are seen as two only by cells of 5 mm or less.

    A `UsageError` refuses a network that has none of several sizes, or whose are not known here.
    """
    if layers := NETWORKS[split.network].fused_layers:
        return layers
    if "rows" in split.details:
        raise UsageError(
            f"--cam fused needs layers of several sizes, and all blocks of {split.network} have the same patches: use "
            "--cam gradcam."
        )
    known = [name for name, entry in NETWORKS.items() if entry.fused_layers]
    raise UsageError(
        f"--cam fused knows the layers of {', '.join(known)}, not those of {split.network}: use --cam gradcam."
    )


@dataclass(frozen=True)
class AverageResponse:
    """What each layer gives out for average pictures, (S, K, h, w).

    With the gradients of each target at each layer there, averaged over neighbourhoods, (S, K, h, w).
    """

    outputs: list[Tensor]
    gradients: list[list[Tensor]]


def respond_to_average(
    network: nn.Module, average: Tensor, targets: Sequence[Target], layers: Sequence[str]
) -> AverageResponse:
    """See what a network's layers make of average pictures, and what targets depend on there.

    The network is intact, in evaluation mode, from `Backbone.assemble`; pictures are normalised, (S, 3, H, W); layers
    are named the finest first, in the order in which the network runs them.

    A `UsageError` refuses layers that do not exist, give no maps, or come in another order.
    """
    import torch

    from migxai.explain.targets import watch

    outputs: list[list[Tensor]] = []
    gradients: list[list[list[Tensor]]] = [[] for _ in targets]
    for images in torch.split(average, _BATCH):
        with torch.enable_grad(), watch(network, layers, _keep_in_order(layers)) as seen:
            logits = network(images)
            found = [seen[name] for name in layers]
            for number, target in enumerate(targets):
                wanted = (target.coefficients(logits.detach()) * logits).sum()
                # All targets share one way forward; its graph is freed after the last of them.
                made = torch.autograd.grad(wanted, found, retain_graph=number + 1 < len(targets))
                widest = made[-1].shape[-1]
                gradients[number].append([_spread(gradient, widest) for gradient in made])
        outputs.append([output.detach() for output in found])
    return AverageResponse(_joined(outputs), [_joined(parts) for parts in gradients])


def explain_fused(
    network: nn.Module,
    images: Tensor,
    split: Split,
    average: AverageResponse,
    space: SliceSpace,
    layers: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Make fused maps of all slices of one person, at `layers` (default: `fused_layers`), those of `average`.

    Images are normalised, one for each slice of `space`, (S, 3, H, W). Maps of T targets are (T, V): positive where the
    person, other than the average, speaks for the target.
    """
    import numpy as np
    import torch

    from migxai.explain.targets import watch
    from migxai.explain.volumes import find_receptive_fields

    names = tuple(layers) if layers is not None else fused_layers(split)
    outputs = []
    for some in torch.split(images, _BATCH):
        with torch.no_grad(), watch(network, names, _keep_in_order(names)) as seen:
            network(some)
            outputs.append([seen[name] for name in names])
    rows = []
    for place, (name, output) in enumerate(zip(names, _joined(outputs), strict=True)):
        # Gradients are those at the average: to first order, this is what each cell changes the target by.
        change = output - average.outputs[place]
        maps = np.stack([(change * of[place]).sum(dim=1).numpy() for of in average.gradients])
        rows.append(space.rows(maps, find_receptive_fields(split, name, maps.shape[-1])))
    return fuse(np.stack(rows))


def fuse(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Average maps (L, ..., V) of L layers at the same voxels, each divided by its own mean absolute value, (..., V).

    A layer that is zero throughout adds nothing.
    """
    import numpy as np

    size = np.abs(rows).mean(axis=-1, keepdims=True, dtype=np.float64)
    even = np.divide(rows, size, out=np.zeros(rows.shape), where=size > 0)
    return np.asarray(even.mean(axis=0), dtype=np.float32)


def fused_people(
    backbone: Backbone,
    head: Head,
    planes: FloatArray,
    space: SliceSpace,
    *,
    rows: IntArray,
    trained: IntArray,
    n_classes: int,
    layers: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Make a model's fused maps of some people, with the sign of each class's margin; see `NetworkExplainer`.

    A `UsageError` refuses networks and layers (default: `fused_layers`) that cannot be fused.
    """
    import numpy as np
    import torch

    from migxai.explain.targets import Target
    from migxai.learning.backbone import fuse_batch_norms
    from migxai.learning.devices import single_thread
    from migxai.learning.slices import to_pixels

    names = tuple(layers) if layers is not None else fused_layers(backbone.split)
    network = backbone.assemble(head)
    # The same network but for rounding, and faster: batch normalisations are put into the convolutions before them.
    fuse_batch_norms(network)
    network = network.to(memory_format=torch.channels_last)
    # What speaks for the one of two classes speaks against the other.
    targets = [Target(of=label, margin=True) for label in range(n_classes)][n_classes == 2 :]

    def draw(slices: FloatArray) -> Tensor:
        pixels = torch.from_numpy(to_pixels(slices, space.geometry)).unsqueeze(1)
        return backbone.normalise(pixels).to(memory_format=torch.channels_last)

    made = []
    with single_thread():
        # Of those that the model was trained on alone: a tested person must not move what they are compared with.
        average = respond_to_average(network, draw(np.mean([planes[row] for row in trained], axis=0)), targets, names)
        for row in np.asarray(rows).tolist():
            maps = explain_fused(network, draw(np.asarray(planes[row])), backbone.split, average, space, names)
            made.append(np.concatenate([-maps, maps]) if n_classes == 2 else maps)
    return np.stack(made)


def _spread(gradient: Tensor, widest: int) -> Tensor:
    """Average a gradient (B, K, h, w) over as many places as one of `widest` cells along the picture's edge covers."""
    from torch.nn import functional

    # At the picture's edge only the cells that exist are counted, else whatever lies there would look unimportant.
    reach = round(gradient.shape[-1] / widest / 2)
    return functional.avg_pool2d(gradient, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)


def _joined(parts: list[list[Tensor]]) -> list[Tensor]:
    """Put batches (P, L, (B, ...)) together, layer by layer."""
    import torch

    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def _keep_in_order(layers: Sequence[str]) -> Callable[[str, Any, Mapping[str, Any]], Tensor]:
    """Return what `watch` keeps of outputs, such that they can be differentiated by.

    What comes before the first layer takes no part in that. A `UsageError` refuses layers that give no maps, or run in
    another order.
    """
    import torch

    def keep(name: str, output: Any, seen: Mapping[str, Any]) -> Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            raise UsageError(f"The layer {name!r} gives no maps (batch, channels, rows, columns); choose another.")
        if len(seen) < len(layers) and name != layers[len(seen)]:
            raise UsageError(f"The network runs {name!r} before {layers[len(seen)]!r}: name layers in its order.")
        # The graph begins at the finest layer: what comes before it needs no gradients, and would fill most memory.
        return output.detach().requires_grad_() if torch.is_grad_enabled() and not seen else output

    return keep


_networks = " and ".join(sorted(entry.title for entry in NETWORKS.values() if entry.fused_layers))

ENTRY = CamMethod(
    name="fused",
    title="fused layers",
    order=90,
    explain_network=fused_people,
    fits_network=lambda split: bool(NETWORKS[split.network].fused_layers),
    signed=True,
    note=f"{_networks}: finer, of several layers, in the first trial",
)
