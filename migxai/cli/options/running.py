"""Options of both levels: resources, and what a run is to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from migxai.cli.values import array_index, memory, memory_gb, memory_mb, path, plugin
from migxai.config import Config, Run
from migxai.options import Option, choices_of, count, whole


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


def run() -> Iterable[Option]:
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
