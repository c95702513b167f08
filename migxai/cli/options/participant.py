"""Options of the participant level: which data, and what is done to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from migxai.cli.values import bids_filters, derivative, label, number_or_native, path, whole_or_auto
from migxai.config import Denoising, Preprocessing
from migxai.indicators.registry import INDICATORS
from migxai.options import Option, choices_of, number, whole

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
