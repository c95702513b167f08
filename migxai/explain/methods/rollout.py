"""Attention rollout: the class token's row of the product over blocks of ``(1 + mean over heads of attention) / 2``.

Half of what a token holds after a block is its own, half is what it attended to. Over twelve blocks that mixes so much
that even an untrained transformer's rollout is nearly uniform: maps are to be seen beside that baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor

    from migxai.learning.heads import Features
    from migxai.learning.timm_networks import TokenHead


def attend(block: TokenHead | None, features: Features) -> Tensor:
    """Return rollout (B, N); see `CamMethod.attend`."""
    import torch

    before = features["rollout"]
    if block is None:
        return before
    attention = block.attention(features).mean(dim=1)
    return 0.5 * (before[:, 0] + torch.einsum("bn,bnm->bm", attention, before))


ENTRY = CamMethod(
    name="rollout",
    title="attention rollout",
    citation="Abnar S, Zuidema W. Quantifying attention flow in transformers. ACL 2020. "
    "doi:10.18653/v1/2020.acl-main.385",
    order=80,
    attend=attend,
    by_class=False,
)
