"""Attention rollout (Abnar & Zuidema 2020, doi:10.18653/v1/2020.acl-main.385): attention of all blocks, multiplied.

Half of what a token holds after a block is its own, half is what it attended to. Over twelve blocks that mixes so much
that even an untrained transformer's rollout is nearly uniform: maps are to be seen beside that baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor

    from migxai.learning.families.vision_transformer import TokenHead
    from migxai.learning.heads import Features


class Rollout(Method):
    """The class token's row of the product over blocks of ``(1 + mean over heads of attention) / 2``."""

    name = "rollout"
    by_class = False

    def attend(self, head: TokenHead | None, features: Features) -> Tensor:
        """Return rollout (B, N); see `Method.attend`."""
        import torch

        before = features["rollout"]
        if head is None:
            return before
        attention = head.attention(features).mean(dim=1)
        return 0.5 * (before[:, 0] + torch.einsum("bn,bnm->bm", attention, before))


def method() -> Method:
    """Return the method."""
    return Rollout()
