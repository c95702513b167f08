"""Every option of the command line as data.

The table yields the argparse parser, the mapping from the command line to `Config` and the Boutiques descriptor.
Nothing heavy is imported here: ``migxai --help`` has to be instant.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from migxai.cli.values import (
    array_index,
    bids_filters,
    count,
    derivative,
    label,
    memory,
    memory_gb,
    memory_mb,
    number,
    number_or_native,
    path,
    whole,
    whole_or_auto,
)
from migxai.config import Config, Denoising, Indicators, Preprocessing, Run

Kind = Literal["value", "list", "flag", "switch", "count", "version"]

#: Groups of ``--help``, in order.
GROUPS = {
    "selection": "which data",
    "inputs": "derived inputs and databases",
    "raw": "preprocessing of raw data (the numbers of the paper are the defaults)",
    "denoising": "denoising",
    "indicators": "indicators",
    "resources": "resources and working files",
    "run": "what to do, and how the run is described",
}

INDICATORS = ("alff", "falff", "reho", "rfcs")
FORMS = ("mean", "raw", "zscore")


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    flags
        The names accepted, preferred one first. Of every long name with a hyphen the form with underscores is
        accepted too.
    group
        Key of `GROUPS`.
    section, field
        Where the value goes in `Config`; section ``"config"`` is the top level, ``"action"`` is no setting but
        something to do.
    kind
        ``list`` options may be repeated and extend; a ``switch`` has a ``--no-`` form.
    default
        The default in words, where the field's own is None or empty.
    """

    flags: tuple[str, ...]
    group: str
    section: str
    field: str
    help: str
    kind: Kind = "value"
    parse: Callable[[str], Any] = str
    choices: tuple[Any, ...] = ()
    metavar: str | None = None
    default: str | None = None

    @property
    def dest(self) -> str:
        """The name in the parsed namespace."""
        return f"{self.section}.{self.field}"

    def default_value(self) -> Any:
        """Return the default of the setting (None for an action)."""
        if self.section == "action":
            return None
        config = Config()
        return getattr(config if self.section == "config" else getattr(config, self.section), self.field)

    def default_text(self) -> str:
        """Return the default in words, as ``--help`` shows it; empty for an action."""
        value = self.default_value()
        if self.default is not None or self.section == "action":
            return self.default or ""
        if isinstance(value, bool):
            return "on" if value else "off"
        return " ".join(str(item) for item in value) if isinstance(value, tuple) else f"{value}"


def choices_of(owner: type, name: str) -> tuple[Any, ...]:
    """Return what a ``Literal`` field of a section may be, so that no list of values is written twice."""
    return typing.get_args(typing.get_type_hints(owner)[name])


def _selection() -> Iterable[Option]:
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


def _inputs() -> Iterable[Option]:
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


def _raw() -> Iterable[Option]:
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


def _denoising() -> Iterable[Option]:
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


def _indicators() -> Iterable[Option]:
    def option(*flags: str, **more: Any) -> Option:
        if more.pop("literal", False):
            more["choices"] = choices_of(Indicators, more["field"])
        return Option(flags, "indicators", "indicators", **more)

    yield option("--indicators", field="indicators", kind="list", choices=INDICATORS, help="The maps to make.")
    yield option(
        "--forms", field="forms", kind="list", choices=FORMS,
        help="Scalings written of each map: divided by the brain's mean, as computed, z-scored over the brain.",
    )  # fmt: skip
    yield option("--alff-definition", field="alff_definition", literal=True, help="Whose definition of ALFF and fALFF.")
    yield option(
        "--reho-neighbours", "--reho-neighbors", field="reho_neighbours", parse=whole,
        choices=choices_of(Indicators, "reho_neighbours"), help="Voxels in a ReHo neighbourhood.",
    )  # fmt: skip
    yield option(
        "--reho-constant", field="reho_constant", literal=True,
        help="Constant voxels within a ReHo neighbourhood: keep them as ties, or exclude them.",
    )  # fmt: skip
    yield option(
        "--reho-tie-correction", field="reho_tie_correction", kind="switch", help="Correct Kendall's W for ties.",
    )  # fmt: skip
    yield option(
        "--reho-border", field="reho_border", literal=True,
        help="Neighbourhoods which the mask cuts: zero, or computed from the voxels within (partial).",
    )  # fmt: skip
    yield option(
        "--rfcs-divisor", field="rfcs_divisor", literal=True, help="What RFCS divides the sum over regions by."
    )
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


def _resources() -> Iterable[Option]:
    def option(*flags: str, **more: Any) -> Option:
        return Option(flags, "resources", "run", **more)

    yield option(
        "--nprocs", "--n-cpus", "--nthreads", field="nprocs", parse=count, metavar="N",
        default="all that this process may use", help="CPUs to use in all.",
    )  # fmt: skip
    yield option(
        "--omp-nthreads", field="omp_nthreads", parse=count, metavar="N",
        default="the CPUs shared evenly among the subjects running at once", help="CPUs to use for one subject.",
    )  # fmt: skip
    available = "what the container, the batch job or the machine has"
    yield option(
        "--mem", field="mem_gb", parse=memory, metavar="SIZE", default=available,
        help="Memory to use in all, such as 16G; a bare number is GB, from 1000 on MB.",
    )  # fmt: skip
    yield option("--mem-gb", field="mem_gb", parse=memory_gb, metavar="GB", default=available, help="Likewise, in GB.")
    yield option("--mem-mb", field="mem_gb", parse=memory_mb, metavar="MB", default=available, help="Likewise, in MB.")
    yield option(
        "--low-mem",
        field="low_mem",
        kind="flag",
        help="One subject at a time, on all CPUs, whatever --nprocs would allow.",
    )
    yield option(
        "--use-plugin", "--nipype-plugin-file", field="use_plugin", parse=path, metavar="FILE",
        default="one process a subject",
        help="nipype plugin file (YAML with plugin and plugin_args) that runs the steps, for instance on a cluster.",
    )  # fmt: skip
    yield option(
        "-w", "--work-dir", field="work_dir", parse=path, metavar="DIR",
        default="OUTPUT/.work, removed when all went well", help="Directory for intermediate files and logs.",
    )  # fmt: skip
    yield option(
        "--keep", field="keep", choices=choices_of(Run, "keep"),
        help="Intermediate files kept after a subject is done.",
    )  # fmt: skip
    yield option(
        "--resource-monitor", field="resource_monitor", kind="flag",
        help="Record each subject's peak memory in the work directory (which is then kept).",
    )  # fmt: skip
    yield option("--stop-on-first-crash", field="stop_on_first_crash", kind="flag", help="Stop when a subject fails.")


def _run() -> Iterable[Option]:
    def action(*flags: str, **more: Any) -> Option:
        return Option(flags, "run", "action", **more)

    yield Option(
        ("--preset",), "run", "config", "preset", choices=choices_of(Config, "preset"),
        help="paper: every choice of method as in the paper, in place of today's practice. Overrides --config-file, "
        "gives way to single options.",
    )  # fmt: skip
    yield action(
        "--config-file", field="config_file", parse=path, metavar="FILE.toml",
        help="Take settings from this file, such as logs/config.toml of another run. Options override it.",
    )  # fmt: skip
    yield Option(
        ("--random-seed",), "run", "config", "random_seed", parse=whole, metavar="N",
        help="Seed of everything that draws random numbers (nothing does at participant level).",
    )  # fmt: skip
    yield action("--dry-run", field="dry_run", kind="flag", help="Say what would be run, and stop.")
    yield action(
        "--status", field="status", kind="flag",
        help="Say which subjects are complete, failed or missing, and why; settings given count; "
        "exit code 1 if any is not complete.",
    )  # fmt: skip
    yield action("--reports-only", field="reports_only", kind="flag", help="Only write the reports anew.")
    yield action("--boilerplate-only", field="boilerplate_only", kind="flag", help="Only write the methods paragraph.")
    yield action(
        "--md-only-boilerplate", field="md_only_boilerplate", kind="flag",
        help="Accepted for compatibility: the methods paragraph is Markdown anyway.",
    )  # fmt: skip
    yield action(
        "--array-index", field="array_index", parse=array_index, metavar="I/N|auto",
        help="Process part I of N of the subjects; auto reads the variables of SLURM, PBS or SGE job arrays "
        "(PBS doesn't tell N: auto is then one subject a job, or give auto/N).",
    )  # fmt: skip
    yield Option(
        ("--write-graph",), "run", "run", "write_graph", kind="flag", help="Draw the workflow into the work directory.",
    )  # fmt: skip
    yield action(
        "--notrack", field="notrack", kind="flag", help="Accepted for compatibility: nothing is ever tracked.",
    )  # fmt: skip
    yield Option(
        ("-v", "--verbose"), "run", "run", "verbose", kind="count",
        help="More messages; -vv shows the output of every step.",
    )  # fmt: skip
    yield action("--version", field="version", kind="version", help="Print the version, and stop.")


OPTIONS: tuple[Option, ...] = (
    *_selection(), *_inputs(), *_raw(), *_denoising(), *_indicators(), *_resources(), *_run(),
)  # fmt: skip

#: Set by the two positional arguments.
POSITIONALS = ("run.bids_dir", "run.output_dir")


def settings() -> frozenset[str]:
    """Return every setting of `Config` as ``section.field``."""
    config = Config()
    found: set[str] = set()
    for item in dataclasses.fields(config):
        content = getattr(config, item.name)
        if dataclasses.is_dataclass(content):
            found.update(f"{item.name}.{inner.name}" for inner in dataclasses.fields(content))
        else:
            found.add(f"config.{item.name}")
    return frozenset(found)
