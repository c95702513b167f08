"""Options of the two levels: which data, what is done to them, who is compared, by which models."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable
from typing import Any

from migxai.config import Denoising, Learning, Preprocessing
from migxai.errors import UsageError
from migxai.explain.methods import METHODS
from migxai.indicators.registry import INDICATORS
from migxai.learning.backbones import NETWORKS, TIMM
from migxai.learning.estimators import ESTIMATORS, baselines
from migxai.options import (
    Option,
    bids_filters,
    choices_of,
    count,
    derivative,
    label,
    number,
    number_or_native,
    path,
    weights,
    whole,
    whole_or_auto,
)

#: Scalings of a map that can be written.
FORMS = ("mean", "raw", "zscore")


def selection() -> Iterable[Option]:
    """Yield which data are processed."""

    def option(*flags: str, **more: Any) -> Option:
        return Option(flags, "selection", more.pop("section", "selection"), **more)

    yield option(
        "--participant-label", "--subject-label", field="participant_label", kind="list", parse=label("sub"),
        metavar="LABEL", default="all", help="Subjects, with or without sub-; * and ? stand for any characters.",
    )  # fmt: skip
    yield option(
        "--session-label", "--session-id", field="session_label", kind="list", parse=label("ses"), metavar="LABEL",
        default="all", help="Sessions, with or without ses-.",
    )  # fmt: skip
    yield option(
        "-t", "--task-id", "--task-label", field="task_id", parse=label("task"), metavar="TASK",
        help="The BIDS task; if the dataset has only one, and it is another, that one is taken and a message says so.",
    )  # fmt: skip
    yield option(
        "--run-id", "--run-label", field="run_id", kind="list", parse=label("run"), metavar="RUN", default="all",
        help="Runs, with or without run-.",
    )  # fmt: skip
    yield option(
        "--bids-filter-file", field="bids_filters", parse=bids_filters, metavar="FILE", default="no filter",
        help="JSON file with pybids entities for the queries bold and t1w.",
    )  # fmt: skip


def inputs() -> Iterable[Option]:
    """Yield where derived inputs and databases lie."""

    def option(*flags: str, **more: Any) -> Option:
        return Option(flags, "inputs", "run", **more)

    yield option(
        "-d", "--derivatives", field="derivatives", kind="list", parse=derivative, metavar="NAME=PATH",
        default="none: raw data are preprocessed here",
        help="Derivative datasets to start from, such as fmriprep=PATH.",
    )  # fmt: skip
    yield option(
        "--bids-database-dir", field="bids_database_dir", parse=path, metavar="DIR",
        default="the dataset is indexed anew", help="Directory with a pybids database of the dataset; made if absent.",
    )  # fmt: skip
    yield option(
        "--skip-bids-validation", field="skip_bids_validation", kind="flag",
        help="Don't check that the input is a valid BIDS dataset.",
    )  # fmt: skip


def raw() -> Iterable[Option]:
    """Yield how raw data are preprocessed."""

    def option(*flags: str, **more: Any) -> Option:
        if more.pop("literal", False):
            more["choices"] = choices_of(Preprocessing, more["field"])
        return Option(flags, "raw", "preprocessing", **more)

    yield option(
        "--dummy-scans", field="dummy_scans", parse=whole_or_auto, metavar="N|auto",
        help="Volumes dropped from the start of a run; auto detects those before the steady state.",
    )  # fmt: skip
    yield option(
        "--repetition-time", field="repetition_time", parse=number, metavar="SECONDS", default="read from the data",
        help="Repetition time, where the JSON sidecar and the NIfTI header are missing or disagree.",
    )  # fmt: skip
    yield option(
        "--slice-timing", field="slice_timing", literal=True,
        help="Slice timing correction: if the timing is known (auto), or an error if it isn't (force), or none.",
    )  # fmt: skip
    yield option(
        "--slice-time-ref", field="slice_time_ref", parse=number, metavar="FRACTION",
        help="The moment all slices are shifted to, as a fraction (0 to 1) of the acquisition.",
    )  # fmt: skip
    yield option(
        "--max-translation", field="max_translation", parse=number, metavar="MM",
        help="A run that moves further is marked as excluded.",
    )  # fmt: skip
    yield option(
        "--max-rotation", field="max_rotation", parse=number, metavar="DEGREES",
        help="A run that turns further is marked as excluded.",
    )  # fmt: skip
    yield option(
        "--anat", field="anat", literal=True,
        help="Reach the template through the T1w image if there is one (auto), always (t1w), or never (none).",
    )  # fmt: skip
    yield option(
        "--skull-strip-t1w", field="skull_strip_t1w", literal=True,
        help="Extract the brain from the T1w image: unless it looks done (auto), always (force), or never (skip).",
    )  # fmt: skip
    yield option("--registration", field="registration", literal=True, help="The registration engine.")
    yield option(
        "--space", field="space", metavar="TEMPLATE",
        default="MNI152NLin2009cAsym; with fMRIPrep's output, the best of those it offers",
        help="The standard space.",
    )  # fmt: skip
    yield option(
        "--resolution", field="resolution", parse=number_or_native, metavar="MM|native",
        help="Voxel size of the maps; native keeps that of a series which is in the standard space already.",
    )  # fmt: skip
    yield option(
        "--use-aroma", field="use_aroma", kind="switch",
        help="Accept series which ICA-AROMA has already denoised (they are refused otherwise).",
    )  # fmt: skip


def denoising() -> Iterable[Option]:
    """Yield how series are denoised."""

    def option(*flags: str, **more: Any) -> Option:
        return Option(flags, "denoising", "denoising", **more)

    yield option(
        "--low", "--lower-bpf", field="low", parse=number, metavar="HZ",
        help="Lower edge of the band, for the filter and for ALFF.",
    )  # fmt: skip
    yield option(
        "--high", "--upper-bpf", field="high", parse=number, metavar="HZ",
        help="Upper edge of the band, for the filter and for ALFF.",
    )  # fmt: skip
    yield option(
        "--fwhm", "--smoothing", field="fwhm", parse=number, metavar="MM",
        help="Width of the Gaussian smoothing kernel; 0 for none.",
    )  # fmt: skip
    yield option(
        "--motion-terms", field="motion_terms", parse=whole, choices=choices_of(Denoising, "motion_terms"),
        help="Motion regressors: 6 parameters, with derivatives (12), with squares of both (24).",
    )  # fmt: skip
    yield option("--wm", field="wm", kind="switch", help="Regress out the mean white-matter signal.")
    yield option("--csf", field="csf", kind="switch", help="Regress out the mean CSF signal.")
    yield option(
        "--gsr", "--global-signal", field="gsr", kind="switch", help="Regress out the global signal.",
    )  # fmt: skip
    yield option(
        "--denoising-order", field="order", choices=choices_of(Denoising, "order"),
        help="Regress, then filter, smooth last; or filter, smooth, regress (paper).",
    )  # fmt: skip
    yield option(
        "--fd-threshold", "--fd-thresh", field="fd_threshold", parse=number, metavar="MM", default="no censoring",
        help="Censor volumes with a framewise displacement above this.",
    )  # fmt: skip
    yield option(
        "--min-time", field="min_time", parse=number, metavar="SECONDS", default="no minimum",
        help="Exclude a run with less than this left after censoring.",
    )  # fmt: skip


def indicators() -> Iterable[Option]:
    """Yield which maps are made, and how."""

    def option(*flags: str, **more: Any) -> Option:
        return Option(flags, "indicators", "indicators", **more)

    yield option("--indicators", field="indicators", kind="list", choices=tuple(INDICATORS), help="The maps to make.")
    yield option(
        "--forms", field="forms", kind="list", choices=FORMS,
        help="Scalings written of each map: divided by the brain's mean, as computed, z-scored over the brain.",
    )  # fmt: skip
    for entry in INDICATORS.values():
        yield from entry.options
    yield option(
        "--atlas", field="atlas", parse=path, metavar="FILE", default="AAL-116, packaged",
        help="Your own atlas: a label image in the standard space; needs --atlas-labels.",
    )  # fmt: skip
    yield option(
        "--atlas-labels", field="atlas_labels", parse=path, metavar="TSV", default="those of AAL-116",
        help="Table with the columns index and name of your own atlas.",
    )  # fmt: skip
    yield option(
        "--min-coverage", field="min_coverage", parse=number, metavar="FRACTION",
        help="Regions of which less than this is covered by the run have no value.",
    )  # fmt: skip
    yield option("--bold", field="bold", kind="switch", help="Write the denoised series.")


def comparison(text: str) -> str:
    """Check the form of ``NAME`` or ``NAME=A:B+C``; the groups are known only once the cohort is read."""
    from migxai.cohort.comparisons import parse_comparison

    try:
        parse_comparison(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error).rstrip(".")) from error
    return text


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
