"""Where in a picture a network's maps look.

Value i in a row of ResNet18's last maps looks at the surroundings of pixel 32 i, 15.5 pixels (about as many mm) before
the middle of what stretching the 7 x 7 map over the picture would give it; of GoogLeNet's, of pixel 32 i + 22, 6.5
pixels after it. Stretched maps of ResNet18 would show everything some 15 mm too far to the right and to the back.
`migxai.learning.layers` says why.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.learning.backbones import NETWORKS, find_family

if TYPE_CHECKING:
    from migxai.learning.family import Split

FloatArray = NDArray[np.floating[Any]]

#: Edge of the pictures that networks look at, pixels.
SIZE = 224


@dataclass(frozen=True)
class ReceptiveFields:
    """Value i of a map, along either edge, looks at a neighbourhood centred on pixel ``start + step * i``.

    Attributes
    ----------
    start, step
        Pixels.
    """

    start: float
    step: float

    @classmethod
    def even(cls, count: int, size: int = SIZE) -> ReceptiveFields:
        """Return those that divide the picture's edge evenly, as a transformer's patches do."""
        step = size / count
        return cls((step - 1) / 2, step)

    def weights(self, pixels: FloatArray, count: int) -> NDArray[np.float32]:
        """Interpolate linearly between the centres; beyond the outermost the outermost value holds.

        With `even` fields it is what `torch.nn.functional.interpolate` does (bilinear, ``align_corners=False``).

        Parameters
        ----------
        pixels
            Where values are wanted, (P,).
        count
            Values of the map along the edge.

        Returns
        -------
        numpy.ndarray
            Weight of each value of the map in each value wanted, (P, count); rows add up to 1.
        """
        places = np.clip((np.asarray(pixels, dtype=np.float64) - self.start) / self.step, 0, count - 1)
        distance = np.abs(places[:, None] - np.arange(count))
        return np.clip(1.0 - distance, 0.0, None).astype(np.float32)


def find_receptive_fields(split: Split, layer: str, count: int) -> ReceptiveFields:
    """Say where in the picture the maps of a layer look.

    Parameters
    ----------
    split
        A split of the network; one that comes from a store of features holds what was measured when it was made.
    layer
        Name of the layer in the intact network.
    count
        Values along an edge of the maps.

    Returns
    -------
    ReceptiveFields
        As the network's entry states them; of a transformer's patches, even; otherwise measured.
    """
    if stated := NETWORKS[split.network].stated_fields(layer):
        return ReceptiveFields(*stated)
    if "rows" in split.details:
        return ReceptiveFields.even(count)
    return ReceptiveFields(*(split.receptive_fields.get(layer) or _measured(split.network, layer)))


@functools.cache
def _measured(network: str, layer: str) -> tuple[float, float]:
    from migxai.learning.layers import measure_receptive_fields
    from migxai.learning.weights import build_network

    return measure_receptive_fields(build_network(find_family(network), 2, seed=0), layer)
