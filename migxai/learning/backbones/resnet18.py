"""ResNet18 of torchvision."""

from migxai.learning.backbones import Network
from migxai.learning.family import Family


def _load() -> Family:
    from migxai.learning.torchvision_networks import ResNet18

    return ResNet18()


ENTRY = Network(
    name="resnet18",
    title="ResNet18",
    citation="he2016",
    order=20,
    load=_load,
    pooled_layer="layer4.1",
    fused_layers=("layer1", "layer2", "layer3", "layer4"),
    receptive_fields={"layer1": (0, 4), "layer2": (0, 8), "layer3": (0, 16), "layer4": (0, 32)},
)
