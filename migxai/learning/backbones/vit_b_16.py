"""ViT-B/16 of timm; torchvision's weights are read too."""

from migxai.learning.backbones import Network
from migxai.learning.family import Family


def _load() -> Family:
    from migxai.learning.timm_networks import PlainTransformer

    theirs = ("vit_b_16-*.pth", "vit_b_16*.pth", "vit_b_16*.pt", "vit_b_16*.safetensors")
    return PlainTransformer("vit_b_16", "vit_base_patch16_224", theirs)


#: All its blocks have the same patches: nothing can be fused.
ENTRY = Network(
    name="vit_b_16",
    title="ViT-B/16",
    citation="dosovitskiy2021",
    order=30,
    load=_load,
)
