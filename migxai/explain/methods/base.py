"""What a way to make maps must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from migxai.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from migxai.learning.families.vision_transformer import TokenHead
    from migxai.learning.heads import Features


class Method:
    """A way to make maps; subclasses override what they can do.

    Attributes
    ----------
    name
        As the user writes it.
    by_class
        Whether maps depend on the class that is explained.
    signed
        Whether maps are negative where something speaks against the class; the usual map is then their positive part.
    """

    name: ClassVar[str]
    by_class: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG002
        """Make maps of a layer's output and the target's gradient with respect to it, before any clipping.

        Parameters
        ----------
        activations, gradients
            (B, K, h, w); gradients may be expanded from (B, K, 1, 1).

        Returns
        -------
        torch.Tensor
            (B, h, w).

        Raises
        ------
        UsageError
            If the method reads attention.
        """
        raise UsageError(f"--cam {self.name} reads a transformer's attention, and this network has none; try gradcam.")

    def attend(self, head: TokenHead | None, features: Features) -> Tensor:
        """Make maps of a transformer's attention, (B, N) with the class token first.

        Parameters
        ----------
        head
            The trained last block; None if it is frozen and `features` hold what it attends to.
        features
            Of a store's clean view.

        Raises
        ------
        UsageError
            If the method reads a layer's output and gradients.
        """
        raise NotImplementedError

    def library(self) -> Any:
        """Return the class of pytorch-grad-cam, or one derived from it, that makes the same maps.

        Raises
        ------
        UsageError
            If there is none.
        """
        raise UsageError(f"--cam {self.name} is made of the attention that the store of features holds, not of layers.")

    @property
    def of_attention(self) -> bool:
        """Whether `attend` is what makes the maps, rather than `combine`."""
        return type(self).attend is not Method.attend
