"""A worked example of a network from outside: four convolutions, of which the classifier is trained.

The package around it is this module and a pyproject with an entry point:

    [project]
    name = "migxai-small-cnn"
    version = "1.0"
    dependencies = ["migxai[torch]"]

    [project.entry-points."migxai.networks"]
    small_cnn = "small_cnn:ENTRY"

`migxai.learning.backbones.Network` describes each field, `migxai.learning.family.Family` what `load` returns.
Where in the picture its maps look is not stated here, so it is measured.
"""

from __future__ import annotations

from migxai.learning.backbones import Network


def load():
    """Return what builds and cuts the network; only this imports torch."""
    from torch import nn

    from migxai.learning.family import IMAGENET, Split
    from migxai.learning.heads import LinearHead

    def layer(inside, outside):
        return nn.Sequential(nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU())

    class SmallCNN(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.maps = nn.Sequential(layer(3, 16), layer(16, 24), layer(24, 32), layer(32, 48))
            self.classifier = nn.Linear(48, n_classes)

        def forward(self, images):
            return self.classifier(self.maps(images).mean(dim=(2, 3)))

    class Trunk(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.maps = network.maps

        def forward(self, images, clean):
            maps = self.maps(images)
            features = {"pooled": maps.float().mean(dim=(2, 3))}
            return features | {"maps": maps.permute(0, 2, 3, 1)} if clean else features

    class Family:
        normalisation = IMAGENET

        def split(self, unfreeze):
            """Its classifier alone is trained, whatever is asked for."""
            return Split("small_cnn", "linear", {"pooled": (48,)}, {"maps": (14, 14, 48)}, {"classifier": "classifier"})

        def files(self):
            return ("small_cnn*.safetensors",)

        def network(self, n_classes):
            return SmallCNN(n_classes)

        def convert(self, state):
            return state, self.normalisation

        def trunk(self, network, split):
            return Trunk(network)

        def head(self, split, n_classes):
            return LinearHead(48, n_classes)

    return Family()


ENTRY = Network(
    name="small_cnn",
    title="Small CNN",
    citation="LeCun Y, Bottou L, Bengio Y, Haffner P. Gradient-based learning applied to document recognition. "
    "Proc IEEE 1998;86:2278-2324. doi:10.1109/5.726791",
    load=load,
    pooled_layer="maps",
)
