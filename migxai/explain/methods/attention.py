"""How the class token attends to the patches in a transformer's last block, averaged over its heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor

    from migxai.learning.heads import Features
    from migxai.learning.timm_networks import TokenHead


def attend(block: TokenHead | None, features: Features) -> Tensor:
    """Return attention (B, N); see `CamMethod.attend`."""
    of_heads: Tensor = features["attention"] if block is None else block.attention(features)
    return of_heads.mean(dim=1)


ENTRY = CamMethod(name="attention", title="attention of the last block", order=70, attend=attend, by_class=False)
