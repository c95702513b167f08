"""Locks that end with the process: one per subject, one for the group level, a short one for files that all share.

A lock is a file that only its owner can have made. Why not simply the kernel's own locks (``flock``)? On a network
drive they may reach no further than one machine, or outlive a machine that died; making a file that must not exist yet
is the one step that is atomic on every file system. But a file also outlives a process that was killed, so something
has to tell whether its owner still lives:

- within one kernel (this machine, and all containers on it) ``flock`` on that file does, at once;
- between machines the file's time does: the owner sets it anew every `HEARTBEAT` seconds, for as long as it lives.

Whoever was killed, or lost its machine, blocks nobody: the lock is taken over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import logging
import os
import platform
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from migxai.errors import OutputError
from migxai.execution.environment import job_name

logger = logging.getLogger("migxai")

LOCK_DIR = ".locks"
#: Seconds between two signs of life.
HEARTBEAT = 10.0
#: An owner on another machine lives if its last sign is younger than this: two may be late on a busy drive ...
FRESH = 2.5 * HEARTBEAT
#: ... and is dead if it is older than this, and nothing came while somebody watched for `FRESH` seconds.
STALE = 12 * HEARTBEAT
#: Long enough for an owner on a machine that died to be found out.
SHARED_TIMEOUT = 300.0
POLL = 0.02
#: Looks, `POLL` seconds apart, that have to find an owner alive.
LOOKS = 3

#: Reads ``[path, inode]`` (to hold) and ``[path]`` (to let go) from its input, a line each, until that is closed: by
#: this process, or by the kernel if this process was killed. The inode keeps it from reviving a lock that was taken
#: over. Ctrl-C reaches all processes of a terminal, and must not end the signs before the owner has ended.
_SIGNS = """
import json, os, select, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
held, text = {}, b""
while True:
    if select.select([0], [], [], float(sys.argv[1]))[0]:
        read = os.read(0, 65536)
        if not read:
            break
        *lines, text = (text + read).split(b"\\n")
        for path, *inode in map(json.loads, lines):
            held.pop(path, None)
            if inode:
                held[path] = inode[0]
    for path, inode in held.items():
        try:
            if os.stat(path).st_ino == inode:
                os.utime(path)
        except OSError:
            pass
"""


@dataclass(frozen=True)
class Owner:
    """What a lock file says of the process that made it.

    `token` is drawn anew for each lock, `boot` identifies the running kernel, shared by all containers on it, `job` is
    the batch job, such as ``SLURM 12_3``, and `flocked` says whether the owner also has the kernel's lock on the file.
    """

    token: str
    boot: str
    machine: str
    pid: int
    job: str = ""
    flocked: bool = False


@dataclass(frozen=True)
class LockState:
    """What can be seen of a lock.

    `owner` is None while the file is just being written, `alive` is None if only time will tell, `age` is in seconds
    since the last sign of life, and `changed_ns` the time of that sign by the file system's clock, in ns.
    """

    owner: Owner | None
    alive: bool | None
    age: float
    changed_ns: int

    @property
    def who(self) -> str:
        """The owner in words."""
        if self.owner is None:
            return "just beginning"
        job = f"job {self.owner.job}, " if self.owner.job else ""
        return f"{job}process {self.owner.pid} on {self.owner.machine}"

    @property
    def job(self) -> str:
        """The owner's batch job; empty if there is none."""
        return self.owner.job if self.owner else ""


def subject_lock(output_dir: Path, label: str) -> AbstractContextManager[None]:
    """Hold a subject for one run; raises `OutputError` at once if another living process holds it.

    The lock of a process that was killed is void at once, and that of one whose machine died after `STALE` seconds.
    """
    message = (
        f"sub-{label} is being processed by another run ({{owner}}) into the same output directory; wait until it "
        "ends, or choose another output directory."
    )
    return _locked(output_dir, f"sub-{label}", timeout=0, busy=message, heartbeat=True)


def group_lock(output_dir: Path) -> AbstractContextManager[None]:
    """Hold the output's ``group`` folder for one run; raises `OutputError` at once if another living process does."""
    message = (
        "The group level is being run by another process ({owner}) into the same output directory; wait until it "
        "ends, or choose another output directory."
    )
    return _locked(output_dir, "group", timeout=0, busy=message, heartbeat=True)


def shared_lock(output_dir: Path, timeout: float = SHARED_TIMEOUT) -> AbstractContextManager[None]:
    """Hold the files that every subject's run writes (dataset_description.json, participants.tsv), briefly.

    Raises `OutputError` if other runs hold them for longer than `timeout` seconds.
    """
    message = (
        f"Other runs have held the shared files of the output directory for more than {timeout:g} seconds; "
        "check whether one of them hangs ({owner})."
    )
    # No signs of life: it is held for far less than the time that it would be found stale in.
    return _locked(output_dir, "shared", timeout=timeout, busy=message)


def lock_state(output_dir: Path, name: str) -> LockState | None:
    """See who is processing a subject (``sub-<label>``) or the ``group`` level, or was when killed; None if nobody."""
    return read_lock(output_dir / LOCK_DIR / f"{name}.lock")


def read_lock(path: Path) -> LockState | None:
    """See who has a lock, and whether it lives; None if nobody has it."""
    try:
        # Opening it makes a network drive fetch the file's time anew, where a look at its name may be answered from
        # a cache; and flock needs it open, for writing on NFS.
        descriptor = os.open(path, (os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY) | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        owner = _read_owner(descriptor)
        age = max(0.0, _file_system_time(path) - found.st_mtime)
        got = flock(descriptor) if _is_known_to_kernel(owner) else None
        alive = not got if got is not None else True if age < FRESH else None if age < STALE else False
        return LockState(owner, alive, age, found.st_mtime_ns)
    finally:
        os.close(descriptor)


class _Heartbeat:
    """Gives the signs of life of all locks of this process, by a small process that lives as long as this one.

    A thread would not do: a registration engine keeps the interpreter's lock for minutes, and nothing else runs
    meanwhile.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._helper: subprocess.Popen[bytes] | None = None
        self._held: dict[str, int] = {}

    def start(self, path: Path, inode: int, seconds: float) -> None:
        """Begin to set the time of a lock file, every so many seconds."""
        with self._guard:
            self._held[str(path)] = inode
            if self._helper is None or self._helper.poll() is not None:
                command = [sys.executable, "-I", "-S", "-c", _SIGNS, str(seconds)]
                self._helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
                for held in self._held.items():
                    self._tell(*held)
            else:
                self._tell(str(path), inode)

    def stop(self, path: Path) -> None:
        """Set it no more; the helper ends with the last lock."""
        with self._guard:
            self._held.pop(str(path), None)
            self._tell(str(path))
            if not self._held and self._helper is not None:
                assert self._helper.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    self._helper.stdin.close()
                self._helper.wait()
                self._helper = None

    def _tell(self, *message: str | int) -> None:
        assert self._helper is not None
        assert self._helper.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it was killed; the next lock starts another
            self._helper.stdin.write(json.dumps(message).encode() + b"\n")
            self._helper.stdin.flush()


_heartbeat = _Heartbeat()


@contextlib.contextmanager
def _locked(output_dir: Path, name: str, *, timeout: float, busy: str, heartbeat: bool = False) -> Iterator[None]:
    path = output_dir / LOCK_DIR / f"{name}.lock"
    try:
        descriptor = _acquire(path, timeout)
    except _BusyError as error:
        raise OutputError(busy.format(owner=error.args[0])) from error
    except OSError as error:
        raise OutputError(f"The output directory cannot be written (lock {path.name}): {error.strerror}.") from error
    if heartbeat:
        _heartbeat.start(path, os.fstat(descriptor).st_ino, HEARTBEAT)
    try:
        yield
    finally:
        if heartbeat:
            _heartbeat.stop(path)
        # Removed while it is still held, and only if it is still ours: somebody may have taken it over from a machine
        # that was thought to be dead.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                path.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):  # other subjects' locks are still in it
            path.parent.rmdir()


class _BusyError(Exception):
    """The lock is held; the argument says by whom."""


def _acquire(path: Path, timeout: float) -> int:
    """Make the lock file, once nobody who lives has it; returns its open descriptor."""
    deadline, seen, since, lives, told = time.monotonic() + timeout, 0, 0.0, 0, False
    while True:
        descriptor = _make(path)
        if descriptor is not None:
            return descriptor
        state = read_lock(path)
        if state is None:
            continue
        now = time.monotonic()
        if state.changed_ns != seen:
            seen, since = state.changed_ns, now
        by_kernel = _is_known_to_kernel(state.owner)
        # A file's age alone proves nothing where clocks differ or a machine slept: of another machine's owner no sign
        # must have come while this process watched.
        if state.alive is False and (by_kernel or now - since >= FRESH):
            _take_away(path, state, by_kernel=by_kernel)
            continue
        # Somebody else who looks at a dead owner's lock has the kernel's for a moment, like a living one.
        lives = lives + 1 if state.alive else 0
        if lives >= LOOKS and now >= deadline:
            raise _BusyError(state.who if state.owner else "which is just beginning")
        if not state.alive and not told:
            told = True
            logger.warning(
                "%s: its holder (%s) has given no sign of life for %.0f seconds; if none comes, it is taken over.",
                path.name, state.who if state.owner else "unknown", state.age,
            )  # fmt: skip
        time.sleep(POLL if state.alive else HEARTBEAT / 10)


def _make(path: Path) -> int | None:
    """Make the lock file if there is none: the one step that is atomic on every file system."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return None  # the last owner removed the empty folder in between
    except FileExistsError:
        if path.parent.exists() and not path.parent.is_dir():
            raise
        return None
    try:
        flocked = flock(descriptor)
        while flocked is False:  # somebody who is looking has it, for a moment
            time.sleep(POLL / 10)
            flocked = flock(descriptor)
        owner = dataclasses.replace(this_process(), flocked=bool(flocked))
        os.write(descriptor, (json.dumps(dataclasses.asdict(owner)) + "\n").encode())
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _take_away(path: Path, state: LockState, *, by_kernel: bool) -> None:
    """Remove the lock file of a dead owner, unless somebody else was quicker.

    Two who find the same dead owner must not remove one file each, since the second would be the first one's new lock.
    So among processes of one kernel, only who has the kernel's lock on the file removes it; among machines, only who
    has made a second file beside it. Either looks once more whether it is still the file that was judged.
    """
    marker = path.with_name(f".{path.name}.void")
    with contextlib.suppress(FileNotFoundError):
        if not by_kernel and not _make_marker(marker):
            return
        try:
            with path.open("r+b", buffering=0) as file:
                descriptor = file.fileno()
                if by_kernel and flock(descriptor) is not True:
                    return
                opened, named = os.fstat(descriptor), path.stat()
                same = os.path.samestat(opened, named) and opened.st_mtime_ns == state.changed_ns
                if same and _read_owner(descriptor) == state.owner:
                    path.unlink()
        finally:
            if not by_kernel:
                marker.unlink(missing_ok=True)


def _make_marker(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        state = read_lock(marker)
        if state is not None and state.alive is False:  # whoever made it died on the way
            marker.unlink(missing_ok=True)
        return False
    return True


@functools.cache
def boot_id() -> str:
    """Identify the running kernel."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return platform.node()


def this_process() -> Owner:
    """Describe this process as the owner of a lock."""
    return Owner(secrets.token_hex(8), boot_id(), platform.node(), os.getpid(), job_name())


def flock(descriptor: int) -> bool | None:
    """Try to get the kernel's lock on an open file; None if this file system knows no such thing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_known_to_kernel(owner: Owner | None) -> bool:
    """Whether the kernel of this machine knows if an owner lives: it lets go of a lock with the process."""
    return owner is not None and owner.boot == boot_id() and owner.flocked


def _read_owner(descriptor: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.read(descriptor, 65536)))
    except (ValueError, TypeError):  # it is not written yet
        return None


def _file_system_time(path: Path) -> float:
    """Return the time by the clock that files get theirs from, which may be another machine's (a file server's)."""
    probe = path.with_name(f".clock-{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # somebody who may only read asks
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
