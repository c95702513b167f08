"""Which batch job this process is, its part of the work, and what is known of a job that ended without a word."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence

from migxai.errors import UsageError

#: SLURM's states in words, where its own don't say it all.
_STATES = {
    "CANCELLED": "was cancelled (scancel)",
    "OUT_OF_MEMORY": "ran out of memory",
    "TIMEOUT": "ran out of time",
    "NODE_FAIL": "lost its node",
    "PREEMPTED": "was preempted by another job",
    "DEADLINE": "passed its deadline",
    "BOOT_FAIL": "was put on a node that did not start",
}
_ENDED = {"COMPLETED", "FAILED", *_STATES}
#: Seconds that a scheduler's own program gets to answer.
_PATIENCE = 20.0

UNKNOWN = "killed by signal 9, cause unknown"


def job_name(environment: Mapping[str, str] | None = None) -> str:
    """Name this process's batch job as its scheduler does, such as ``SLURM 12_3``; empty outside of one."""
    read = os.environ if environment is None else environment
    array, task = read.get("SLURM_ARRAY_JOB_ID"), read.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"SLURM {array}_{task}"
    if read.get("SLURM_JOB_ID"):
        return f"SLURM {read['SLURM_JOB_ID']}"
    if read.get("PBS_JOBID"):
        return f"PBS {read['PBS_JOBID']}"
    if read.get("SGE_TASK_ID") and read.get("JOB_ID"):
        return f"SGE {read['JOB_ID']}" + ("" if read["SGE_TASK_ID"] == "undefined" else f".{read['SGE_TASK_ID']}")
    return ""


def array_part(
    spec: str | None, subjects: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the part of the subjects that falls to this array task.

    Parameters
    ----------
    spec
        ``I/N``, ``auto`` or ``auto/N``; None is everything.
    subjects
        All subjects, in the same order for every task.
    environment
        Environment variables (default: this process's).

    Returns
    -------
    tuple of str
        Every N-th subject from the I-th on: the parts of all tasks are disjoint and complete, and as even as can be.

    Raises
    ------
    UsageError
        If this is no array task, or its number is not one of 1 to N.
    """
    if spec is None:
        return tuple(subjects)
    number, _, parts = spec.partition("/")
    if number != "auto":
        index, total = int(number), int(parts)
    else:
        index, found = _array_task(os.environ if environment is None else environment)
        total = int(parts) if parts else found or len(subjects)
    if not 1 <= index <= total:
        raise UsageError(
            f"This is task {index} of an array of {total} parts; number the tasks from 1 to {total}, without gaps, "
            "or name both with --array-index I/N."
        )
    return tuple(subjects[index - 1 :: total])


def _array_task(environment: Mapping[str, str]) -> tuple[int, int | None]:
    """Return this task's number, from 1, and the number of tasks where the scheduler tells it."""

    def read(name: str) -> int | None:
        text = environment.get(name, "")
        return int(text) if text.isdigit() else None

    task, first = read("SLURM_ARRAY_TASK_ID"), read("SLURM_ARRAY_TASK_MIN")
    if task is not None:
        step, total = read("SLURM_ARRAY_TASK_STEP") or 1, read("SLURM_ARRAY_TASK_COUNT")
        return (task - (1 if first is None else first)) // step + 1, total
    task, first, last = read("SGE_TASK_ID"), read("SGE_TASK_FIRST"), read("SGE_TASK_LAST")
    if task is not None:
        step = read("SGE_TASK_STEPSIZE") or 1
        first = 1 if first is None else first
        return (task - first) // step + 1, None if last is None else (last - first) // step + 1
    for name in ("PBS_ARRAY_INDEX", "PBS_ARRAYID"):
        task = read(name)
        if task is not None:
            return task, None
    raise UsageError(
        "--array-index auto finds no variable of a SLURM, PBS or SGE job array; run it in one, or give I/N."
    )


def explain(job: str) -> str:
    """Say how a job ended, as far as its scheduler tells.

    Parameters
    ----------
    job
        As `job_name` gives it, such as ``SLURM 12_3``; empty if there was none.

    Returns
    -------
    str
        Such as ``SLURM job 12_3 was cancelled (scancel)``; of a job that the scheduler no longer knows, and where
        there is none, that the process was killed and nobody knows why.
    """
    system, _, number = job.partition(" ")
    if system != "SLURM":
        return UNKNOWN + (f" ({system} job {number})" if number else "")
    facts = slurm_facts(number)
    if facts is None:
        return f"{UNKNOWN} (SLURM job {number}, of which scontrol knows nothing any more)"
    state = facts.get("JobState", "unknown")
    if state not in _ENDED:
        return f"{UNKNOWN} (SLURM job {number} is {state} now)"
    details = [f"{name} {facts[name]}" for name in ("Reason", "ExitCode") if facts.get(name, "None") != "None"]
    where = f"; scontrol shows {state}" + (f", {', '.join(details)}" if details else "")
    signum = facts.get("ExitCode", "").partition(":")[2]
    killed = f"was killed by signal {signum}" if signum not in ("", "0") else "ended"
    return f"SLURM job {number} {_STATES.get(state, killed)}{where}"


def slurm_facts(number: str) -> dict[str, str] | None:
    """Return what ``scontrol show job`` says of a job (the last one, if its number is an array's); None if nothing."""
    try:
        shown = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", number],
            capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line for line in shown.stdout.splitlines() if "JobState=" in line]
    if shown.returncode or not lines:
        return None
    return dict(re.findall(r"(\w+)=(\S*)", lines[-1]))
