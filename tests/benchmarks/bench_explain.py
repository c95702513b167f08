"""How fast maps are made in closed form from the store, and that they are pytorch-grad-cam's.

    python tests/benchmarks/bench_explain.py             # everything
    python tests/benchmarks/bench_explain.py --models googlenet

For each network, on one thread, side by side in this process, on the same slices of random pictures:

- our closed form: reading a person's features from the store, and the maps of the margin between two classes;
- pytorch-grad-cam's own call (`GradCAM`, in 32 bits) at the layer that feeds the classifier, for the same target; it
  stretches each map to the picture, which ours leaves to the voxels;
- the largest difference between the two, both clipped at zero and stretched to 0..1 as the library does, ours made of
  the trunk's features in 32 bits;
- people's maps at the voxels, in fused layers (`migxai.explain.methods.fused`): four people a fold, so rather too much.

For ViT-B/16, which has no closed form, gradients of the folded last block are compared with autograd's through the
intact network. The time for 64 people, 3 indicators and 3 networks is counted up from these units: every person is
explained once a trial and comparison.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from torch import Tensor

from migxai.config import Learning
from migxai.errors import UsageError
from migxai.explain.explainers import as_grid, default_layer, explain, explain_people
from migxai.explain.methods import METHODS
from migxai.explain.methods.fused import fused_people
from migxai.explain.targets import Target, find_layer
from migxai.explain.volumes import SliceSpace
from migxai.learning.backbone import Backbone, make_backbone
from migxai.learning.backbones import find_family, make_head
from migxai.learning.feature_store import FeatureStore, extract_subject, make_feature_spec
from migxai.learning.heads import Head
from migxai.learning.slices import plan_slices, to_pixels

MODELS = ("googlenet", "resnet18", "vit_b_16")
SETTINGS = Learning(weights="random", augmentations=0)
PEOPLE, SUBJECTS, INDICATORS, TRIALS, COMPARISONS, CORES = 4, 64, 3, 4, 3, 2
TARGET = Target(of=1, margin=True)


@dataclass(frozen=True)
class Row:
    """Of one network: difference to the library, its speed over ours, and ms an image."""

    difference: float
    ours: float
    library: float
    voxels: float
    fused: float


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Take the processor's time of the fastest of some calls: on one thread, and a busy machine, the fairest clock."""
    taken = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def make_space() -> SliceSpace:
    """Cut 30 slices of an ellipsoid as large as a brain, in voxels of 3 mm."""
    affine = np.array([[3.0, 0, 0, -96], [0, 3, 0, -132], [0, 0, 3, -78], [0, 0, 0, 1]])
    world = np.stack(np.indices((65, 77, 65)), axis=-1) * 3.0 + affine[:3, 3]
    brain = (((world - (0, -18, 8)) / (70, 88, 70)) ** 2).sum(axis=-1) <= 1
    return SliceSpace(plan_slices(brain.shape, affine, brain, axis="axial", count=SETTINGS.slices), brain)


def stretched(maps: Tensor) -> Tensor:
    """As pytorch-grad-cam shows maps: clipped at zero, each image's stretched to 0..1."""
    clipped = maps.clamp(min=0)
    lowest, highest = (getattr(clipped, which)(dim=(1, 2), keepdim=True) for which in ("amin", "amax"))
    return (clipped - lowest) / (highest - lowest + 1e-7)


def library(backbone: Backbone, head: Head) -> GradCAM:
    """Set up pytorch-grad-cam's own Grad-CAM."""
    network, split = backbone.assemble(head), backbone.split
    transform = (lambda tokens: as_grid(tokens[:, 1:], split)) if "rows" in split.details else None
    layer = find_layer(network, default_layer(split))
    return GradCAM(model=network, target_layers=[layer], reshape_transform=transform)


def margin(logits: Tensor) -> Tensor:
    """What is explained, as the library takes it."""
    return logits[1] - logits[0]


def largest_difference(backbone: Backbone, head: Head, cam: GradCAM, images: Tensor) -> float:
    """Compare maps at the layer's own cells, with the intact network's own arithmetic on both sides."""
    with torch.no_grad():
        trunk = find_family(backbone.split.network).trunk(backbone.network, backbone.split)
        features = {name: tensor.float() for name, tensor in trunk(images, True).items()}
    ours = stretched(explain(head, features, backbone.split, METHODS["gradcam"], TARGET))
    # Before the library enlarges them to the picture: its weights and activations, its clipping and stretching.
    cam(images.clone().requires_grad_(), [margin] * len(images))
    held = cam.activations_and_grads
    activations, gradients = held.activations[0].numpy(), held.gradients[0].numpy()
    made = cam.get_cam_image(images, None, None, activations, gradients, False)
    return float((ours - stretched(torch.from_numpy(made))).abs().max())


def measure(model: str, root: Path, space: SliceSpace) -> Row:
    """Time one network."""
    planes = np.random.default_rng(0).random((PEOPLE, SETTINGS.slices, *space.geometry.planes_shape), dtype=np.float32)
    names = [f"{number}" for number in range(PEOPLE)]
    backbone, spec = make_backbone(model, SETTINGS, 0), make_feature_spec(model, SETTINGS, space.geometry, 0)
    for row, name in enumerate(names):
        extract_subject(backbone, planes[row], spec, folder=root, subject=name, map_hash=name)
    store = FeatureStore.open(root, spec.key, names, names)
    head = make_head(store.split, 2, torch.Generator().manual_seed(0)).eval()
    cam, slices = library(backbone, head), np.arange(store.slices)
    images = backbone.normalise(torch.from_numpy(to_pixels(planes[0], space.geometry)).unsqueeze(1))[:10].contiguous()

    def ours() -> None:
        for row in range(PEOPLE):
            features = store.clean(np.full(store.slices, row), slices)
            explain(head, features, store.split, METHODS["gradcam"], TARGET)

    def theirs() -> None:
        cam(images.clone().requires_grad_(), [margin] * len(images))

    def fused() -> None:
        fused_people(backbone, head, planes, space, rows=everybody, trained=everybody, n_classes=2)

    everybody = np.arange(PEOPLE)
    try:
        fine = seconds(fused, repeats=2) / (PEOPLE * SETTINGS.slices)
    except UsageError:
        fine = float("nan")
    ours()
    theirs()
    return Row(
        difference=largest_difference(backbone, head, cam, images),
        ours=1000 * seconds(ours, repeats=5) / (PEOPLE * SETTINGS.slices),
        library=1000 * seconds(theirs) / len(images),
        voxels=1000
        * seconds(lambda: explain_people(head, store, everybody, "gradcam", space, 2))
        / (PEOPLE * SETTINGS.slices),
        fused=1000 * fine,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    space, rows = make_space(), {}
    for model in options.models:
        with tempfile.TemporaryDirectory() as name:
            rows[model] = measure(model, Path(name), space)
    print("ms an image    closed form   pytorch-grad-cam   ratio   largest difference   at the voxels   fused")
    for model, row in rows.items():
        print(
            f"{model:<14} {row.ours:11.3f} {row.library:18.1f} {row.library / row.ours:7.0f} {row.difference:20.1e} "
            f"{row.voxels:15.3f} {row.fused:7.1f}"
        )
    images = SUBJECTS * SETTINGS.slices
    once = images * INDICATORS * sum(row.voxels for row in rows.values()) / 1000
    print(
        f"{SUBJECTS} people x {INDICATORS} indicators x {len(rows)} networks from the store: {once:.0f} s on one core, "
        f"{once * TRIALS * COMPARISONS / CORES / 60:.1f} minutes on {CORES} cores for {TRIALS} trials of {COMPARISONS} "
        "comparisons (counted up from the units)"
    )
    for model, row in rows.items():
        if np.isfinite(row.fused):
            minutes = images * row.fused / 60000
            print(f"{model}: fused, {SUBJECTS} people x {SETTINGS.slices} slices: {minutes:.1f} minutes on one core")


if __name__ == "__main__":
    main()
