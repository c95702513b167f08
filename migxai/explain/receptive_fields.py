"""Where in a picture the cells of a network's maps lie.

A 7 x 7 map is usually stretched over the 224 pixels as if cell i covered pixels 32 i to 32 i + 31. But a convolution of
stride 2 with a padding of one looks at pixels around 2 i, not 2 i + 0.5, and a pooling without padding around 2 i + 1;
over five of them that adds up. Cell i of ResNet18's last maps looks at the surroundings of pixel 32 i, 15.5 pixels
(about as many mm) before the middle of what stretching would give it; of GoogLeNet's, of pixel 32 i + 22, 6.5 pixels
after it. Stretched maps of ResNet18 would show everything some 15 mm too far to the right and to the back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.learning.backbones import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor, nn

FloatArray = NDArray[np.floating[Any]]

#: Edge of the pictures that networks look at, pixels.
SIZE = 224


@dataclass(frozen=True)
class Cells:
    """Cell i of a map, along either edge, looks at a neighbourhood centred on pixel ``start + step * i``.

    Attributes
    ----------
    start, step
        Pixels.
    """

    start: float
    step: float

    @classmethod
    def even(cls, count: int, size: int = SIZE) -> Cells:
        """Cells that divide the picture's edge evenly, as a transformer's patches do."""
        step = size / count
        return cls((step - 1) / 2, step)

    def weights(self, pixels: FloatArray, count: int) -> NDArray[np.float32]:
        """Linear interpolation between cells; beyond the outermost centres the outermost cell's value holds.

        With `even` cells it is what `torch.nn.functional.interpolate` does (bilinear, ``align_corners=False``).

        Parameters
        ----------
        pixels
            Where values are wanted, (P,).
        count
            Cells along the edge.

        Returns
        -------
        numpy.ndarray
            Weight of each cell in each value, (P, count); rows add up to 1.
        """
        places = np.clip((np.asarray(pixels, dtype=np.float64) - self.start) / self.step, 0, count - 1)
        distance = np.abs(places[:, None] - np.arange(count))
        return np.clip(1.0 - distance, 0.0, None).astype(np.float32)


def find_cells(network: str, layer: str, count: int) -> Cells:
    """Say where the cells of a layer's maps lie.

    Parameters
    ----------
    network
        Its name, such as ``resnet18``.
    layer
        Name of the layer in the intact network.
    count
        Cells along an edge.

    Returns
    -------
    Cells
        Evenly spread where the layer is not known here; `measure_cells` can tell then.
    """
    for beginning, centres in (NETWORKS[network].receptive_fields if network in NETWORKS else {}).items():
        if layer.startswith(beginning):
            return Cells(*centres)
    return Cells.even(count)


def measure_cells(network: nn.Module, layer: str, images: Tensor, *, patch: int = 8) -> Cells:
    """Find where the cells of a layer's maps lie by changing pictures and seeing which cells notice.

    For networks that `find_cells` does not know. A patch of noise is laid at each of some places; how much each cell
    changes, less what most cells change, has its centre of mass where the patch is.

    Parameters
    ----------
    network
        In evaluation mode.
    layer
        Name of a layer with maps (B, K, h, w).
    images
        Normalised pictures (B, 3, H, W) to change, not constant ones.
    patch
        Edge of a patch, pixels.

    Returns
    -------
    Cells
        Good to a few pixels, depending on the network's weights.

    Raises
    ------
    InputError
        If no cell notices any change.
    """
    import torch

    from migxai.explain.targets import watch

    size = images.shape[-1]
    noise = torch.randn((patch, patch), generator=torch.Generator().manual_seed(0)) * images.std()
    offsets = []
    with torch.inference_mode(), watch(network, [layer]) as seen:
        network(images)
        before = seen[layer]
        step = size / before.shape[-1]
        for first in np.linspace(0.3 * size, 0.7 * size, 9).round().astype(int).tolist():
            changed = images.clone()
            changed[..., first : first + patch, first : first + patch] += noise
            network(changed)
            change = (seen[layer] - before).abs().sum(dim=(0, 1)).double().numpy()
            if change.max() > np.median(change):
                offsets.append(first + (patch - 1) / 2 - step * np.mean(_centre(change)))
    if not offsets:
        raise InputError(f"No change of a picture reaches the layer {layer}: its weights carry no signal.")
    return Cells(float(np.mean(offsets)), step)


def _centre(change: NDArray[np.float64]) -> tuple[float, float]:
    """Centre of mass of a map (h, w) over its median, row and column."""
    above = np.clip(change - np.median(change), 0.0, None)
    rows, columns = np.indices(change.shape)
    return float((rows * above).sum() / above.sum()), float((columns * above).sum() / above.sum())
