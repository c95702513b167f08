"""The ways to make maps (``--cam``): each is an entry in a file of its own, here or in another package.

Most of them combine what a layer gives out (activations) with the gradient of what is explained with respect to it;
the store of features holds the activations, so no network has to run. Some read a transformer's attention. One looks
at several layers and needs the intact network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from migxai.learning.backbones import pooled_layer
from migxai.registry import Entry, Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from migxai.explain.volumes import SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.family import Split
    from migxai.learning.heads import Features, Head
    from migxai.learning.timm_networks import TokenHead
    from migxai.metrics.types import FloatArray, IntArray


class NetworkExplainer(Protocol):
    """Makes maps of people by the intact network, such as `migxai.explain.methods.fused.fused_people`."""

    def __call__(
        self,
        backbone: Backbone,
        head: Head,
        planes: FloatArray,
        space: SliceSpace,
        *,
        rows: IntArray,
        trained: IntArray,
        n_classes: int,
    ) -> NDArray[np.float32]:
        """Make a model's maps of some people.

        Parameters
        ----------
        backbone
            The network that `head` belongs to.
        head
            Trained on others than these people.
        planes
            Everybody's slices, (N, S, H0, W0), 0 to 1.
        space
            The V voxels that slices show.
        rows
            The people, (n,).
        trained
            The people that the head learned from.
        n_classes
            Number of classes, C.

        Returns
        -------
        numpy.ndarray
            (n, C, V), with the sign that the formula gives; (n, 1, V) where the method does not depend on the class.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class CamMethod(Entry):
    """A way to make maps: exactly one of `combine`, `attend` and `explain_network` says how.

    Attributes
    ----------
    combine
        Takes a layer's output and the gradient of what is explained with respect to it, both (B, K, h, w), and returns
        maps (B, h, w) before any clipping. Gradients may be expanded from (B, K, 1, 1).
    attend
        Takes a transformer's trained last block and its features, and returns maps of its tokens (B, N), the class
        token first. The block is None where it is frozen; the features hold its attention then.
    explain_network
        Makes maps of people by the intact network, where all others read the store's features.
    library
        Returns the class of pytorch-grad-cam, or one derived from it, that makes the same maps; None if there is none.
    by_class
        Whether maps depend on the class that is explained.
    signed
        Whether maps are negative where something speaks against the class; the usual map is then their positive part.
    fits_network
        Says whether it fits a network as it is cut, where that does not follow from what it reads; see `fits`.
    note
        What the help of ``--cam`` says of it in brackets.
    """

    combine: Callable[[Tensor, Tensor], Tensor] | None = None
    attend: Callable[[TokenHead | None, Features], Tensor] | None = None
    explain_network: NetworkExplainer | None = None
    library: Callable[[], Any] | None = None
    by_class: bool = True
    signed: bool = False
    fits_network: Callable[[Split], bool] | None = None
    note: str = ""

    def fits(self, split: Split) -> bool:
        """Say whether it fits a network as it is cut.

        Attention needs a transformer. Gradients need something behind the frozen part that they can be taken in: a
        transformer's last block, maps whose mean the classifier reads, or the whole network.
        """
        if self.fits_network is not None:
            return self.fits_network(split)
        if self.reads_store(split):
            return True
        # Any other network is run, by pytorch-grad-cam, if it has maps.
        return self.library is not None and "rows" not in split.details and bool(pooled_layer(split))

    def reads_store(self, split: Split) -> bool:
        """Say whether its maps of a network can be made of the store's features, without running the network."""
        transformer = "rows" in split.details
        if self.explain_network is not None:
            return False
        if self.attend is not None:
            return transformer
        if transformer:
            return "block" in split.modules
        return split.unfreeze != "linear" or "maps" in split.clean


METHODS: Registry[CamMethod] = Registry("way to make maps (--cam)", CamMethod, package=__name__, group="cams")
