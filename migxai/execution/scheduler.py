"""Which batch job this process is, and what the batch system knows of one that ended without a word."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping

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
