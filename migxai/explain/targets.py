"""What a map explains: a class's logit, or how much more one class is favoured than the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migxai.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Target:
    """A weighted sum of logits.

    The probabilities of a softmax know logits only up to a common shift. So one class's logit alone may rise with every
    other's; its margin over the mean of the others says what speaks for the class.

    Attributes
    ----------
    of
        The class, 0 to C - 1, or None for the class that is predicted for each image.
    margin
        Whether the mean of the other classes' logits is subtracted: for two classes, their difference.
    """

    of: int | None = None
    margin: bool = False

    def coefficients(self, logits: Tensor) -> Tensor:
        """Return the weight of each logit, (B, C).

        Parameters
        ----------
        logits
            (B, C).

        Raises
        ------
        UsageError
            If there is no such class.
        """
        import torch

        count, classes = logits.shape
        if self.of is not None and not 0 <= self.of < classes:
            raise UsageError(f"There is no class number {self.of} to explain; there are {classes}.")
        chosen = logits.argmax(dim=1) if self.of is None else torch.full((count,), self.of, device=logits.device)
        wanted = torch.nn.functional.one_hot(chosen, classes).to(logits.dtype)
        return wanted - (1 - wanted) / (classes - 1) if self.margin else wanted
