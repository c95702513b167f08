"""How the class token attends to the patches in a transformer's last block, averaged over its heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor

    from migxai.learning.families.vision_transformer import TokenHead
    from migxai.learning.heads import Features


class Attention(Method):
    """Mean over heads of the class token's row of attention."""

    name = "attention"
    by_class = False

    def attend(self, head: TokenHead | None, features: Features) -> Tensor:
        """Return attention (B, N); see `Method.attend`."""
        return last_attention(head, features).mean(dim=1)


def last_attention(head: TokenHead | None, features: Features) -> Tensor:
    """Return the class token's attention in the last block, (B, heads, N)."""
    return features["attention"] if head is None else head.attention(features)


def method() -> Method:
    """Return the method."""
    return Attention()
