"""Options of the group level: the cohort, the models and how they are evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from migxai.cli.values import comparison, path, weights
from migxai.config import Learning
from migxai.explain.methods import METHODS
from migxai.learning.backbones import NETWORKS, TIMM
from migxai.learning.estimators import ESTIMATORS, baselines
from migxai.options import Option, choices_of, count, number, whole


def cohort() -> Iterable[Option]:
    """Yield who is compared with whom, and on which images."""
    option = _options("cohort")

    yield option(
        "--comparison", field="comparisons", kind="list", parse=comparison, metavar="NAME[=A:B+C]",
        default="the paper's three if its groups HC, MWoA and MWA are there, else one over all groups",
        help="Classes to tell apart: groups joined by + make one class, : separates classes.",
    )  # fmt: skip
    yield option(
        "--label-column", field="label_column", metavar="COLUMN", help="Column of participants.tsv with the groups."
    )
    yield option(
        "--site-column", field="site_column", metavar="COLUMN",
        help="Column of participants.tsv with the sites; a dataset without it is one site.",
    )  # fmt: skip
    yield option(
        "--where", field="where", kind="list", metavar="CONDITION", default="everyone",
        help='Keep those who meet a condition on participants.tsv, such as "age < 50".',
    )  # fmt: skip
    yield option(
        "--min-fov", field="min_fov", parse=number, metavar="FRACTION",
        help="Leave out people whose map covers less than this of the template's brain.",
    )  # fmt: skip
    yield option("--slices", field="slices", parse=count, metavar="N", help="Slices cut from each map.")
    yield option(
        "--slice-range", field="slice_range", kind="list", parse=number, metavar="MM",
        default="the extent of the template's brain", help="Lowest and highest slice, in MNI mm (two numbers).",
    )  # fmt: skip
    yield option("--slice-axis", field="slice_axis", literal=True, help="Direction of the slices.")
    yield option(
        "--augmentations", field="augmentations", parse=whole, metavar="N",
        help="Augmented views of each slice to train on; 0 trains on the slices as they are.",
    )  # fmt: skip
    yield option(
        "--crop", field="crop", parse=number, metavar="FRACTION",
        help="Least share of a slice's edge that a random crop keeps; 1 for none.",
    )  # fmt: skip
    yield option(
        "--rotation", field="rotation", parse=number, metavar="DEGREES", help="Largest random rotation either way.",
    )  # fmt: skip
    yield option(
        "--augment-flip", field="augment_flip", kind="switch",
        help="Flip slices left to right at random, which swaps the hemispheres.",
    )  # fmt: skip


def models() -> Iterable[Option]:
    """Yield the models and how they are trained."""
    option = _options("models")
    names = [*NETWORKS, f"{TIMM}NAME", *(name for name, entry in ESTIMATORS.items() if not entry.always)]

    yield option(
        "--models", field="models", kind="list", metavar="MODEL",
        help=f"{', '.join(names)}; the baselines {' and '.join(baselines())} always run too.",
    )  # fmt: skip
    yield option(
        "--weights", field="weights", parse=weights, metavar="imagenet|random|FILE",
        help="Where a network's frozen part comes from: pretrained, drawn from the seed, or a state dict.",
    )  # fmt: skip
    yield option(
        "--weights-dir", field="weights_dir", parse=path, metavar="DIR", default="the caches of torch and timm",
        help="Directory with the pretrained weights; nothing is ever downloaded.",
    )  # fmt: skip
    yield option(
        "--unfreeze", field="unfreeze", literal=True,
        help="What is trained besides the classifier (a transformer's last block in either case), or nothing (linear).",
    )  # fmt: skip
    yield option(
        "--dropout", field="dropout", parse=number, metavar="FRACTION", help="Dropout before the classifier.",
    )  # fmt: skip
    yield option("--epochs", field="epochs", parse=count, metavar="N", help="Passes over the training slices.")
    yield option("--batch-size", field="batch_size", parse=count, metavar="N", help="Slices in a batch.")
    yield option(
        "--learning-rate", "--lr", field="learning_rate", parse=number, metavar="RATE", help="Learning rate of SGD.",
    )  # fmt: skip
    yield option("--momentum", field="momentum", parse=number, metavar="FRACTION", help="Momentum of SGD.")
    yield option("--weight-decay", field="weight_decay", parse=number, metavar="RATE", help="Weight decay of SGD.")
    yield option(
        "--class-weights", field="class_weights", literal=True, help="Weigh classes by the inverse of their size.",
    )  # fmt: skip
    yield option(
        "--epoch-choice", field="epoch_choice", literal=True,
        help="The epoch whose parameters are kept: the last, or the best on a part of the training subjects.",
    )  # fmt: skip
    yield option(
        "--feature-norm", field="feature_norm", literal=True,
        help="Standardise what the classifier reads while it is trained, by batch; afterwards that is part of its "
        "weights. Without, training on frozen features is slow.",
    )  # fmt: skip
    yield option(
        "--precision", field="precision", literal=True,
        help="Arithmetic of a network's frozen part. bf16 (16 bits) is faster on processors that compute in it and "
        "slower on all others, and rounds away small differences between people.",
    )  # fmt: skip
    yield option("--device", field="device", literal=True, help="Where networks are computed.")


def evaluation() -> Iterable[Option]:
    """Yield how models are evaluated."""
    option = _options("evaluation")

    yield option("--cv", field="cv", literal=True, help="How subjects are divided into training and test.")
    yield option("--folds", field="folds", parse=count, metavar="K", help="Folds of a trial.")
    yield option("--trials", field="trials", parse=count, metavar="N", help="Times that all is divided anew.")
    yield option(
        "--folds-file", field="folds_file", parse=path, metavar="FILE", default="folds are drawn from the seed",
        help="Folds to use again: the group/folds.tsv of another run.",
    )  # fmt: skip
    yield option(
        "--vote", field="vote", literal=True,
        help="How a subject's slices decide: by their mean probability, or each with one vote.",
    )  # fmt: skip
    yield option(
        "--bootstraps", field="bootstraps", parse=count, metavar="N", help="Bootstrap samples behind an interval.",
    )  # fmt: skip
    yield option(
        "--permutations", field="permutations", parse=whole, metavar="N",
        help="Repeat each cross-validation with permuted labels so many times, for a p value; 0 for none.",
    )  # fmt: skip
    yield option(
        "--save-models", field="save_models", literal=True,
        help="Models written: one a fold and one of everybody, that alone, or none.",
    )  # fmt: skip


def explanations() -> Iterable[Option]:
    """Yield what is shown of where networks look."""
    option = _options("explanations", "explaining")
    of_layers = [f"{one.name} ({one.note})" if one.note else one.name for one in METHODS.values() if not one.attend]
    of_attention = [one.name for one in METHODS.values() if one.attend]

    yield option(
        "--explain", field="explain", kind="switch",
        help="Map where networks find what tells classes apart, in people that they have not seen.",
    )  # fmt: skip
    yield option(
        "--cam", field="cam", kind="list", choices=tuple(METHODS), metavar="METHOD",
        help="Ways to make maps, each for the networks it fits, the first one for the checks: "
        f"{', '.join(of_layers)}; for transformers also {' and '.join(of_attention)}.",
    )  # fmt: skip
    yield option(
        "--cam-threshold", field="cam_threshold", parse=number, metavar="FRACTION",
        help="Thresholded maps keep what reaches this share of their largest value.",
    )  # fmt: skip
    yield option(
        "--sanity-checks", field="sanity_checks", kind="switch",
        help="Check whether maps depend on what was learned: random weights, permuted labels, other folds, deletion.",
    )  # fmt: skip


def strictness() -> Iterable[Option]:
    """Yield what a failed check does."""
    yield Option(
        ("--strict",), "explanations", "run", "strict", kind="flag",
        help="End with exit code 4 if a check of the results or of the maps failed; all is written in either case.",
    )  # fmt: skip


def actions() -> Iterable[Option]:
    """Yield what the group level does instead of training."""
    yield Option(
        ("--predict",), "evaluation", "action", "predict", parse=path, metavar="MODEL.safetensors",
        help="Train nothing: classify the maps with a model that another run saved.",
    )  # fmt: skip


def _options(group: str, section: str = "learning") -> Any:
    def option(*flags: str, **more: Any) -> Option:
        if more.pop("literal", False):
            more["choices"] = choices_of(Learning, more["field"])
        return Option(flags, group, section, **more)

    return option
