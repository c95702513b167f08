"""Where this process runs: CPUs, memory and places for files, also inside a container, and which batch job it is."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migxai.config import Config
from migxai.errors import OutputError, UsageError
from migxai.io import free_gb

GB = 1e9
MB_PER_GB = 1000.0

#: Memory a subject is given at least, in GB, beyond what was measured for data of its size; and if that is unknown.
MARGIN, SUBJECT_GB = 1.25, 4.0
#: Threads a single subject makes good use of.
MAX_THREADS = 8

#: Free space in GB below which a folder for temporary files counts as full: a report's figures must fit.
LEAST_TEMPORARY_GB = 0.05
#: What Python reads to choose its temporary folder, in its order.
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")


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


@dataclass(frozen=True)
class Share:
    """How the machine is divided: subjects at once, and for each of them threads and memory, and what it needs (GB)."""

    subjects: int
    threads: int
    memory_gb: float
    need_gb: float = SUBJECT_GB


def cpu_count(root: Path = CGROUP_ROOT, proc: Path = PROC) -> int:
    """Return the number of CPUs this process may use, by its affinity and its cgroup's quota (v1 or v2)."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [available]
    for folder in _cgroups(root, proc, "cpu"):
        fields = _read(folder / "cpu.max").split()
        if len(fields) == 2 and fields[0] != "max":
            quotas.append(math.ceil(int(fields[0]) / int(fields[1])))
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota and period and int(quota) > 0:
            quotas.append(math.ceil(int(quota) / int(period)))
    return max(1, min(quotas))


def memory_gb(environment: Mapping[str, str] | None = None, root: Path = CGROUP_ROOT, proc: Path = PROC) -> float:
    """Return the memory in GB this process may use: the least of machine, cgroup and SLURM job.

    SLURM's variables are in MB, and 0 means all of the node.
    """
    environment = os.environ if environment is None else environment
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB]
    for folder in _cgroups(root, proc, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) > 0:
                limits.append(int(text) / GB)
    per_node = environment.get("SLURM_MEM_PER_NODE", "")
    if per_node.isdigit() and int(per_node) > 0:
        limits.append(int(per_node) / MB_PER_GB)
    per_cpu = environment.get("SLURM_MEM_PER_CPU", "")
    if per_cpu.isdigit() and int(per_cpu) > 0:
        on_node = environment.get("SLURM_CPUS_ON_NODE", "")
        job_cpus = int(on_node) if on_node.isdigit() else cpu_count(root, proc)
        limits.append(int(per_cpu) * job_cpus / MB_PER_GB)
    return min(limits)


def _cgroups(root: Path, proc: Path, controller: str) -> list[Path]:
    """Return this process's cgroup folder and all above it, for v1 and v2: any of them may set the limit."""
    folders = [root, root / controller]
    for line in _read(proc / "self" / "cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3 or (fields[1] and controller not in fields[1].split(",")):
            continue
        base = root / controller if fields[1] else root
        inner = base / fields[2].lstrip("/")
        folders += [inner, *(folder for folder in inner.parents if base in folder.parents)]
    return list(dict.fromkeys(folders))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # the file of the other cgroup version, or of another system
        return ""


def divide(config: Config, n_subjects: int, subject_gb: float | None = None) -> Share:
    """Divide CPUs and memory among subjects: at least one at once, whatever the memory.

    ``nprocs``, ``omp_nthreads`` and ``mem_gb`` override what the machine has; `subject_gb` is what a subject was
    estimated to need, in GB, if that is known.
    """
    run = config.run
    cpus = run.nprocs or cpu_count()
    total = run.mem_gb or memory_gb()
    need = SUBJECT_GB if subject_gb is None else MARGIN * subject_gb
    by_memory = max(1, int(total / need))
    at_once = max(1, min(n_subjects, by_memory, cpus // (run.omp_nthreads or 1)))
    if run.low_mem:
        at_once = 1
    threads = run.omp_nthreads or max(1, min(MAX_THREADS, cpus // at_once))
    return Share(at_once, threads, total / at_once, need)


def prepare_environment(threads: int) -> None:
    """Set what nipype and the numerical libraries read when they are imported: no telemetry, so many threads.

    The linear algebra libraries stay at one thread: how they cut a sum depends on the number of threads, and results
    have to be the same bits for any.
    """
    own = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    os.environ.update({"NO_ET": "1", "NIPYPE_NO_ET": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
    os.environ.update(dict.fromkeys(own, str(threads)))


def provide_scratch(work_dir: Path, *, tidy_up: bool = False) -> list[str]:
    """Send temporary files and caches into the work directory where their own places can't be written.

    Inside a container the root is often read-only, the user has no home, and ``/tmp`` is absent, full or tiny. The work
    directory is then the one place that can be written.

    `work_dir` exists and can be written; with `tidy_up` it is removed as well when this process ends, if it is empty
    by then. Returns a sentence for each place that was replaced, for the log. Raises `OutputError` if nothing can be
    made in the work directory either.
    """
    replaced = [name for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR") if not _can_be_written(_cache(name))]
    temporary = Path(next((os.environ[name] for name in _TEMPORARY if os.environ.get(name)), "/tmp"))
    problem = None
    if not _can_be_written(temporary, make=False):
        problem = "can't be written"
    elif free_gb(temporary) < LEAST_TEMPORARY_GB:
        problem = "is full"
    if not replaced and problem is None:
        return []
    scratch = _make(work_dir, tidy_up=tidy_up)
    for name in replaced:
        # One folder for each library; the children inherit it, so that what one has compiled serves the next.
        (scratch / name.lower()).mkdir()
        os.environ[name] = str(scratch / name.lower())
    sentences = [f"{name} can't be written here; {work_dir} takes its files for this run." for name in replaced]
    if problem is not None:
        os.environ.update(dict.fromkeys(_TEMPORARY, str(scratch)))
        tempfile.tempdir = None
        sentences.append(f"Temporary files go to {work_dir} for this run, since {temporary} {problem}.")
    return sentences


def _cache(name: str) -> Path:
    """Where a library would keep its cache: what the environment says, else somewhere below the home."""
    given = os.environ.get(name)
    return Path(given) if given else Path(os.environ.get("HOME") or "/")


def _can_be_written(folder: Path, *, make: bool = True) -> bool:
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError:
        return False
    return True


def _make(work_dir: Path, *, tidy_up: bool) -> Path:
    try:
        # Jobs of an array share the work directory: each has a scratch of its own to remove.
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=work_dir))
    except OSError as error:
        raise OutputError(f"The work directory {work_dir} can't be used: {error.strerror}.") from error
    atexit.register(_remove, scratch, os.getpid(), tidy_up)
    return scratch


def _remove(scratch: Path, owner: int, tidy_up: bool) -> None:
    if os.getpid() != owner:  # a forked child that ends first
        return
    shutil.rmtree(scratch, ignore_errors=True)
    if tidy_up:
        with contextlib.suppress(OSError):  # not empty: another run is at work, or this one has left its log
            scratch.parent.rmdir()


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
    """Return the part of the subjects that falls to this array task: every N-th from the I-th on.

    `spec` is ``I/N``, ``auto`` or ``auto/N``; None is everything. With the same order of subjects in every task, the
    parts of all are disjoint and complete, and as even as can be. Raises `UsageError` if this is no array task, or its
    number is not one of 1 to N.
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
    """Say how a job ended, as far as its scheduler tells, such as ``SLURM job 12_3 was cancelled (scancel)``.

    `job` is as `job_name` gives it. Of a job that the scheduler no longer knows, and where there is none, all that is
    said is that the process was killed and nobody knows why.
    """
    system, _, number = job.partition(" ")
    if system != "SLURM":
        return UNKNOWN + (f" ({system} job {number})" if number else "")
    facts = _slurm_facts(number)
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


def _slurm_facts(number: str) -> dict[str, str] | None:
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
