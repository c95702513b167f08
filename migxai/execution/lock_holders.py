"""Who holds a lock, and whether it still lives: on this machine by the kernel, on another by its pulse.

A lock is a file that its holder alone can have made. A network drive makes such a file atomically, where locks of the
kernel (``flock``) may reach no further than one machine, or outlive a machine that died. So within one kernel ``flock``
tells whether the holder lives; between machines the file's time does, which the holder keeps setting anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import platform
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

#: Seconds between two signs of life.
BEAT = 10.0
#: A holder on another machine lives if its last sign is younger than this ...
FRESH = 2.5 * BEAT
#: ... and is dead if it is older than this, and nothing came while somebody watched for `FRESH` seconds.
STALE = 12 * BEAT


@dataclass(frozen=True)
class Holder:
    """What a lock file says of its holder.

    Attributes
    ----------
    token
        Drawn anew for each lock.
    boot
        Identifies the running kernel, shared by all containers on it.
    machine, pid
        Host name and process.
    job
        The batch job, such as ``SLURM 12_3``; empty if there is none.
    flocked
        Whether the holder also has the kernel's lock on the file.
    """

    token: str
    boot: str
    machine: str
    pid: int
    job: str = ""
    flocked: bool = False

    @property
    def text(self) -> str:
        """The holder in words."""
        job = f"job {self.job}, " if self.job else ""
        return f"{job}process {self.pid} on {self.machine}"


@dataclass(frozen=True)
class Sign:
    """What can be seen of a lock.

    Attributes
    ----------
    holder
        None while the file is just being written.
    alive
        None if only time will tell.
    age
        Seconds since the last sign of life.
    beat
        The time of that sign by the file system's clock, in ns.
    """

    holder: Holder | None
    alive: bool | None
    age: float
    beat: int


@functools.cache
def boot_id() -> str:
    """Identify the running kernel."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return platform.node()


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


def this_process() -> Holder:
    """Describe this process as a holder."""
    return Holder(secrets.token_hex(8), boot_id(), platform.node(), os.getpid(), job_name())


def flock(descriptor: int) -> bool | None:
    """Try to get the kernel's lock; None if this file system knows no such thing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def write_holder(descriptor: int, holder: Holder) -> None:
    """Write who holds the lock into its new file."""
    os.write(descriptor, (json.dumps(asdict(holder)) + "\n").encode())


def look(path: Path) -> Sign | None:
    """Look at a lock; None if nobody has it."""
    try:
        # Opening it makes a network drive fetch the file's time anew.
        descriptor = os.open(path, (os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY) | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        holder = read_holder(descriptor)
        age = max(0.0, _server_time(path) - found.st_mtime)
        alive = _lives_here(holder, descriptor)
        if alive is None:
            alive = True if age < FRESH else None if age < STALE else False
        return Sign(holder, alive, age, found.st_mtime_ns)
    finally:
        os.close(descriptor)


def read_holder(descriptor: int) -> Holder | None:
    """Read who holds a lock from its open file; None if that is not written yet."""
    try:
        return Holder(**json.loads(os.read(descriptor, 65536)))
    except (ValueError, TypeError):
        return None


def is_known_to_kernel(holder: Holder | None) -> bool:
    """Whether the kernel of this machine knows if a holder lives."""
    return holder is not None and holder.boot == boot_id() and holder.flocked


def _lives_here(holder: Holder | None, descriptor: int) -> bool | None:
    """Whether a holder on this kernel lives; None if it is on another, or if that can't be told."""
    if not is_known_to_kernel(holder):
        return None
    got = flock(descriptor)
    return None if got is None else not got


def _server_time(path: Path) -> float:
    """Return the time by the clock that files get theirs from, which may be another machine's."""
    probe = path.with_name(f".clock-{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # somebody who may only read asks
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
