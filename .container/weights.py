"""Fetch the ImageNet weights of the three networks into a folder laid out as torch's cache (for the Dockerfile).

torchvision knows where they are, and their names hold the beginning of their SHA-256, by which they are checked.
"""

import os
import sys
from pathlib import Path

home = Path(sys.argv[1]) / "torch"
os.environ["TORCH_HOME"] = str(home)

from torchvision.models import GoogLeNet_Weights, ResNet18_Weights, ViT_B_16_Weights  # noqa: E402

for weights in (GoogLeNet_Weights.IMAGENET1K_V1, ResNet18_Weights.IMAGENET1K_V1, ViT_B_16_Weights.IMAGENET1K_V1):
    weights.get_state_dict(progress=False, check_hash=True)
for path in (home / "hub" / "checkpoints").iterdir():
    path.chmod(0o644)
    print(path.name)  # noqa: T201
