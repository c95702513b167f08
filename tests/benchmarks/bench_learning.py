"""How much faster heads are trained from the store of frozen features than with the whole network in every step.

    python tests/benchmarks/bench_learning.py              # ratio to naive training, fp32 and bf16, side by side
    python tests/benchmarks/bench_learning.py --table2     # and the paper's whole Table 2, extrapolated from it

Everything is measured in this process on one thread, on simulated ReHo maps, with the default settings but random
weights. What is timed are units: an image through the trunk (naive: one augmented view in each step, its picture made
anew; store: once for each of the 1 + 8 views, written to disk), and an image in a step of the head. A whole training is
then counted in these units: 5 folds of 30 epochs over four fifths of the images, and every image tested once. The
naive form runs the same trunk code without fused BatchNorm and channels-last memory and the library's own convolutions,
in 32 bits or with autocast to bfloat16 (minutes on a CPU that has to emulate it: ``--fp32-only`` leaves it out).
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import torch
from torch import nn

from migxai.cohort.datasets import read_maps
from migxai.cohort.maps import common_grid
from migxai.config import Learning
from migxai.demo.map_cohort import make_map_cohort
from migxai.group.plan import common_template, prepare_maps
from migxai.learning.augmentation import Augmentation, apply, draw
from migxai.learning.backbone import make_backbone
from migxai.learning.backbones import find_family, find_split, make_head
from migxai.learning.feature_store import FeatureStore, extract_subject, make_feature_spec
from migxai.learning.heads import SmallMapConv2d
from migxai.learning.slices import to_pixels
from migxai.learning.training import Schedule, predict_head, train_head
from migxai.learning.weights import load_network

MODELS = ("googlenet", "resnet18", "vit_b_16")
SETTINGS = Learning(weights="random")
SUBJECTS, FOLDS, TRIALS, COMPARISONS, INDICATORS, PEOPLE = 4, 5, 4, 2, 3, 64


@dataclass(frozen=True)
class Units:
    """Seconds an image: through the trunk into the store (a view), a head's step, a naive step in 32 and 16 bits."""

    extract: float
    step: float
    test: float
    naive: float
    naive_bf16: float


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def prepared(root: Path) -> tuple[np.ndarray, object, tuple[str, ...]]:
    """Simulate maps, and cut them as the group level does."""
    dataset = make_map_cohort(root, subjects=SUBJECTS, seed=0, indicators=("reho",))
    table = read_maps(dataset, stat="reho", form="mean")
    template = common_template(*common_grid(list(table["path"])), "MNI152NLin2009cAsym", SETTINGS)
    maps = prepare_maps("reho", [[path] for path in table["path"]], template)
    return maps.planes, template.geometry, maps.hashes


def naive_steps(model: str, planes: np.ndarray, geometry: object, dtype: torch.dtype, steps: int) -> float:
    """Return seconds an image of training in which every step augments, runs the trunk and trains the head."""
    split = find_split(model, SETTINGS.unfreeze)
    loaded = load_network(model, SETTINGS, 0)
    trunk = find_family(model).trunk(loaded.network.eval().requires_grad_(False), split)
    head = make_head(split, 2, torch.Generator().manual_seed(0)).train()
    for module in head.modules():
        if isinstance(module, SmallMapConv2d):
            module.__class__ = nn.Conv2d
    optimiser = torch.optim.SGD(head.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    augmentation = Augmentation(SETTINGS.crop, SETTINGS.rotation, SETTINGS.augment_flip)
    mean, sd = (torch.tensor(item).reshape(1, 3, 1, 1) for item in (loaded.normalisation.mean, loaded.normalisation.sd))
    pixels = torch.from_numpy(to_pixels(planes[0], geometry)).unsqueeze(1)
    size = len(pixels)

    def step(number: int) -> None:
        matrices = draw(augmentation, seed=0, subject="a", view=number + 1, slices=size)
        images = (apply(pixels, matrices) - mean) / sd
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            features = {name: tensor.float() for name, tensor in trunk(images, False).items()}
        loss = torch.nn.functional.cross_entropy(head(features), torch.arange(size) % 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step(0)
    return seconds(lambda: [step(number) for number in range(1, steps + 1)]) / (steps * size)


def measure(model: str, root: Path, fp32_only: bool) -> Units:
    """Time the units of one network."""
    planes, geometry, hashes = prepared(root)
    subjects = [f"{number}" for number in range(SUBJECTS)]
    spec = make_feature_spec(model, SETTINGS, geometry, 0)
    backbone = make_backbone(model, SETTINGS, 0)
    backbone.features(torch.rand(30, 1, 224, 224), clean=True)

    def extract(row: int) -> None:
        extract_subject(backbone, planes[row], spec, folder=root / "store", subject=subjects[row], map_hash=hashes[row])

    views, size = spec.views + 1, spec.slices
    extracted = seconds(lambda: [extract(row) for row in range(SUBJECTS)]) / (SUBJECTS * views * size)
    store = FeatureStore.open(root / "store", spec.key, hashes, subjects)
    rows, labels = np.arange(SUBJECTS), np.arange(SUBJECTS) % 2
    head = make_head(store.split, 2, torch.Generator().manual_seed(0))
    train_head(head, store, rows, labels, Schedule(epochs=1), 0)
    epochs = 4
    stepped = seconds(lambda: train_head(head, store, rows, labels, Schedule(epochs=epochs), 0))
    tested = seconds(lambda: predict_head(head, store, rows))
    steps = 2 if model == "vit_b_16" else 6
    return Units(
        extract=extracted,
        step=stepped / (epochs * SUBJECTS * size),
        test=tested / (SUBJECTS * size),
        naive=naive_steps(model, planes, geometry, torch.float32, steps),
        naive_bf16=math.nan if fp32_only else naive_steps(model, planes, geometry, torch.bfloat16, steps),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--table2", action="store_true")
    parser.add_argument("--fp32-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Of one image of the cohort, over a whole cross-validation:
    trained, tested = FOLDS * SETTINGS.epochs * (1 - 1 / FOLDS), 1
    hours = 0.0
    totals = np.zeros(3)
    for model in options.models:
        with tempfile.TemporaryDirectory() as name:
            units = measure(model, Path(name), options.fp32_only)
        views = SETTINGS.augmentations + 1
        stored = views * units.extract + trained * units.step + tested * units.test
        naive, naive_bf16 = ((trained + tested) * unit for unit in (units.naive, units.naive_bf16))
        totals += stored, naive, naive_bf16
        parts = ", ".join(f"{key} {1000 * value:.2f}" for key, value in vars(units).items())
        print(f"{model}: ms an image: {parts}")
        print(f"{model}: {naive / stored:.1f} times faster than naive fp32, {naive_bf16 / stored:.1f} than naive bf16")
        images = PEOPLE * SETTINGS.slices * INDICATORS
        hours += images * (views * units.extract + COMPARISONS * TRIALS * (stored - views * units.extract)) / 3600
    print(f"together: {totals[1] / totals[0]:.1f} times faster than naive fp32, {totals[2] / totals[0]:.1f} than bf16")
    if options.table2:
        print(f"the paper's Table 2, {', '.join(options.models)}: {hours:.1f} core-hours")


if __name__ == "__main__":
    main()
