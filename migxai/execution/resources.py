"""What this process may use: CPUs, memory and places for files, also inside a container or a batch job."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from migxai.config import Config
from migxai.errors import OutputError
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

    Parameters
    ----------
    environment
        Environment variables (default: this process's); SLURM's are in MB, and 0 means all of the node.
    root, proc
        Where the cgroups and ``/proc`` are mounted.
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
    """Divide CPUs and memory among subjects.

    Parameters
    ----------
    config
        The run's configuration; ``nprocs``, ``omp_nthreads`` and ``mem_gb`` override what the machine has.
    n_subjects
        Subjects to process.
    subject_gb
        What a subject was estimated to need, in GB, if that is known.

    Returns
    -------
    Share
        At least one subject at once, whatever the memory.
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


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment variables that hold numerical libraries to a number of threads.

    The linear algebra libraries stay at one: how they cut a sum depends on the number of threads, and results have to
    be the same bits for any.
    """
    return {
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
    }


def provide_scratch(work_dir: Path, *, tidy_up: bool = False) -> list[str]:
    """Send temporary files and caches into the work directory where their own places can't be written.

    Inside a container the root is often read-only, the user has no home, and ``/tmp`` is absent, full or tiny. The work
    directory is then the one place that can be written.

    Parameters
    ----------
    work_dir
        A directory that exists and can be written.
    tidy_up
        Remove the work directory as well when this process ends, if it is empty by then.

    Returns
    -------
    list of str
        A sentence for each place that was replaced, for the log.

    Raises
    ------
    OutputError
        If nothing can be made in the work directory either.
    """
    replaced = [name for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR") if not _can_be_written(_cache(name))]
    temporary = _temporary_folder(os.environ)
    problem = _why_not(temporary)
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


def _temporary_folder(environment: Mapping[str, str]) -> Path:
    return Path(next((environment[name] for name in _TEMPORARY if environment.get(name)), "/tmp"))


def _why_not(folder: Path) -> str | None:
    if not _can_be_written(folder, make=False):
        return "can't be written"
    return None if free_gb(folder) >= LEAST_TEMPORARY_GB else "is full"


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
