"""GoogLeNet of torchvision."""

from migxai.learning.backbones import Network
from migxai.learning.family import Family


def _load() -> Family:
    from migxai.learning.torchvision_networks import GoogLeNet

    return GoogLeNet()


ENTRY = Network(
    name="googlenet",
    title="GoogLeNet",
    citation="szegedy2015",
    order=10,
    load=_load,
    pooled_layer="inception5b",
    fused_layers=("conv3", "inception3b", "inception4e", "inception5b"),
    receptive_fields={"conv3": (2, 4), "inception3": (6, 8), "inception4": (14, 16), "inception5": (22, 32)},
)
