"""Every option of the command line as data.

The table yields the argparse parser, the mapping from the command line to `Config` and the Boutiques descriptor.
Nothing heavy is imported here: ``migxai --help`` has to be instant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cache
from typing import Any

from migxai.audit.checks import CHECKS
from migxai.cli import level_options
from migxai.cli.level_options import FORMS
from migxai.config import Config, Run
from migxai.explain.methods import METHODS
from migxai.indicators.registry import INDICATORS
from migxai.learning.backbones import NETWORKS
from migxai.learning.estimators import ESTIMATORS
from migxai.options import Option, array_index, choices_of, count, memory, memory_gb, memory_mb, path, plugin, whole
from migxai.registry import Registry

__all__ = ["FORMS", "GROUPS", "POSITIONALS", "REGISTRIES", "Option", "all_options", "problems", "settings"]

#: All that can be added to from other packages; the options of their entries are those of the command line too.
REGISTRIES: tuple[Registry[Any], ...] = (INDICATORS, NETWORKS, ESTIMATORS, METHODS, CHECKS)

#: Groups of ``--help``, in order.
GROUPS = {
    "selection": "which data",
    "inputs": "derived inputs and databases",
    "raw": "participant level: preprocessing of raw data (the numbers of the paper are the defaults)",
    "denoising": "participant level: denoising",
    "indicators": "participant level: indicators (--indicators: both levels)",
    "cohort": "group level: who is compared, and on which images",
    "models": "group level: models and their training",
    "evaluation": "group level: evaluation",
    "explanations": "group level: explanations and checks",
    "resources": "resources and working files",
    "run": "what to do, and how the run is described",
}


def resources() -> Iterable[Option]:
    """Yield what a run may use."""

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
        "--use-plugin", "--nipype-plugin-file", field="use_plugin", parse=plugin, metavar="slurm|FILE",
        default="one process a subject",
        help="Run each step as a job of SLURM, or with the plugin of a nipype plugin file (YAML with plugin and "
        "plugin_args), such as SLURM with your partition and account.",
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
        help="Record peak memory, CPU use and time of each subject and step in the work directory's logs (which are "
        "then kept).",
    )  # fmt: skip
    yield option("--stop-on-first-crash", field="stop_on_first_crash", kind="flag", help="Stop when a subject fails.")


def what_to_do() -> Iterable[Option]:
    """Yield what is to be done."""

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
    yield action(
        "--write-sbatch", field="write_sbatch", kind="flag",
        help="Print a SLURM script that runs the participants as an array of jobs, with memory and time estimated from "
        "their data and the options given here; submit it with bash or sbatch.",
    )  # fmt: skip
    yield action(
        "--sbatch-group", field="sbatch_group", kind="flag",
        help="With --write-sbatch: a job of the group level too, which starts when the array has ended.",
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


@cache
def all_options() -> tuple[Option, ...]:
    """Return every option of this installation, those of other packages included, in the order of ``--help``."""
    listed = (
        *level_options.selection(),
        *level_options.inputs(),
        *level_options.raw(),
        *level_options.denoising(),
        *level_options.indicators(),
        *level_options.cohort(),
        *level_options.models(),
        *level_options.evaluation(),
        *level_options.explanations(),
        *level_options.actions(),
        *resources(),
        *what_to_do(),
        *(option for registry in REGISTRIES for entry in registry.values() for option in entry.options),
    )
    # Two entries may share an option. One of another package takes no name from migxai, or from one before it.
    taken = {flag for option in listed if option.section != "extensions" for flag in option.flags}
    found: list[Option] = []
    for option in listed:
        if option in found:
            continue
        if option.section == "extensions":
            if taken & set(option.flags) or option.group not in GROUPS:
                continue
            taken |= set(option.flags)
        found.append(option)
    return tuple(found)


def problems() -> tuple[str, ...]:
    """Return a sentence for each thing of another package that could not be used; the rest works."""
    found = [sentence for registry in REGISTRIES for sentence in registry.problems]
    usable = all_options()
    for entry in (entry for registry in REGISTRIES for entry in registry.values()):
        for option in entry.options:
            if option not in usable:
                found.append(
                    f"The option {option.flags[0]} of {entry.origin} is left out, so its default holds: its name is "
                    "taken, or its group is none of migxai's."
                )
    return tuple(found)


#: Set by the two positional arguments.
POSITIONALS = ("run.bids_dir", "run.output_dir")


def settings() -> frozenset[str]:
    """Return every setting of `Config` as ``section.field``, those of other packages apart."""
    config = Config()
    found: set[str] = set()
    for item in dataclasses.fields(config):
        content = getattr(config, item.name)
        if dataclasses.is_dataclass(content):
            found.update(f"{item.name}.{inner.name}" for inner in dataclasses.fields(content))
        elif item.name != "extensions":
            found.add(f"config.{item.name}")
    return frozenset(found)
