"""Locks that end with the process: one per subject, and a short one for files that all subjects share.

They hold between the machines of a cluster too (see `migxai.execution.lock_holders`), and whoever was killed, or
lost its machine, blocks nobody: the lock is taken over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from migxai.errors import OutputError
from migxai.execution import lock_holders as holders
from migxai.execution.lock_holders import Sign
from migxai.execution.lock_pulse import Pulse

logger = logging.getLogger("migxai")

LOCK_DIR = ".locks"
#: Long enough for a holder on a machine that died to be found out.
SHARED_TIMEOUT = 300.0
POLL = 0.02
#: Looks, `POLL` seconds apart, that have to find a holder alive.
LOOKS = 3

_PULSE = Pulse()


@contextlib.contextmanager
def subject_lock(output_dir: Path, label: str, session: str | None = None) -> Iterator[None]:
    """Hold a subject for one run; another run on the same subject is refused at once.

    Parameters
    ----------
    output_dir
        The output dataset.
    label, session
        The subject's (and session's) label, without ``sub-`` and ``ses-``.

    Raises
    ------
    OutputError
        If another living process holds the subject, or the lock cannot be written. The lock of a process that was
        killed is void at once, and that of one whose machine died after `migxai.execution.lock_holders.STALE` seconds.
    """
    name = _name(label, session)
    message = (
        f"{name} is being processed by another run ({{holder}}) into the same output directory; wait until it ends, "
        "or choose another output directory."
    )
    with _locked(output_dir, name, timeout=0, busy=message, pulse=True):
        yield


def look_at_subject(output_dir: Path, label: str, session: str | None = None) -> Sign | None:
    """See who is processing a subject, or was when it was killed; None if nobody."""
    return holders.look(output_dir / LOCK_DIR / f"{_name(label, session)}.lock")


def look_at_group(output_dir: Path) -> Sign | None:
    """See who is running the group level, or was when it was killed; None if nobody."""
    return holders.look(output_dir / LOCK_DIR / "group.lock")


def _name(label: str, session: str | None) -> str:
    return f"sub-{label}" if session is None else f"sub-{label}_ses-{session}"


@contextlib.contextmanager
def group_lock(output_dir: Path) -> Iterator[None]:
    """Hold the output's ``group`` folder for one run of the group level; another one is refused at once.

    Raises
    ------
    OutputError
        If another living process holds it, or the lock cannot be written.
    """
    message = (
        "The group level is being run by another process ({holder}) into the same output directory; wait until it "
        "ends, or choose another output directory."
    )
    with _locked(output_dir, "group", timeout=0, busy=message, pulse=True):
        yield


@contextlib.contextmanager
def shared_lock(output_dir: Path, timeout: float = SHARED_TIMEOUT) -> Iterator[None]:
    """Hold the files that every subject's run writes (dataset_description.json, participants.tsv), briefly.

    Raises
    ------
    OutputError
        If other runs hold them for longer than `timeout` seconds, or the lock cannot be written.
    """
    message = (
        f"Other runs have held the shared files of the output directory for more than {timeout:g} seconds; "
        "check whether one of them hangs ({{holder}})."
    )
    with _locked(output_dir, "shared", timeout=timeout, busy=message):
        yield


@contextlib.contextmanager
def _locked(output_dir: Path, name: str, *, timeout: float, busy: str, pulse: bool = False) -> Iterator[None]:
    path = output_dir / LOCK_DIR / f"{name}.lock"
    try:
        descriptor = _acquire(path, timeout)
    except _BusyError as error:
        raise OutputError(busy.format(holder=error.args[0])) from error
    except OSError as error:
        raise OutputError(f"The output directory cannot be written (lock {path.name}): {error.strerror}.") from error
    if pulse:
        _PULSE.start(path, os.fstat(descriptor).st_ino)
    try:
        yield
    finally:
        if pulse:
            _PULSE.stop(path)
        _remove_own(path, descriptor)
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
        sign = holders.look(path)
        if sign is None:
            continue
        now = time.monotonic()
        if sign.beat != seen:
            seen, since = sign.beat, now
        by_kernel = holders.is_known_to_kernel(sign.holder)
        if sign.alive is False and (by_kernel or now - since >= holders.FRESH):
            _take_away(path, sign, by_kernel=by_kernel)
            continue
        # Somebody else who looks at a dead holder's lock has the kernel's for a moment, like a living one.
        lives = lives + 1 if sign.alive else 0
        if lives >= LOOKS and now >= deadline:
            raise _BusyError(sign.holder.text if sign.holder else "which is just beginning")
        if not sign.alive and not told:
            told = True
            logger.warning(
                "%s: its holder (%s) has given no sign of life for %.0f seconds; if none comes, it is taken over.",
                path.name, sign.holder.text if sign.holder else "unknown", sign.age,
            )  # fmt: skip
        time.sleep(POLL if sign.alive else holders.BEAT / 10)


def _make(path: Path) -> int | None:
    """Make the lock file if there is none: the one step that is atomic on every file system."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return None  # the last holder removed the empty folder in between
    except FileExistsError:
        if path.parent.exists() and not path.parent.is_dir():
            raise
        return None
    try:
        flocked = holders.flock(descriptor)
        while flocked is False:  # somebody who is looking has it, for a moment
            time.sleep(POLL / 10)
            flocked = holders.flock(descriptor)
        holders.write_holder(descriptor, dataclasses.replace(holders.this_process(), flocked=bool(flocked)))
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _take_away(path: Path, sign: Sign, *, by_kernel: bool) -> None:
    """Remove the lock file of a dead holder, unless somebody else was quicker.

    Among processes of one kernel, only who has the kernel's lock on the file removes it; among machines, only who has
    made a second file beside it.
    """
    marker = path.with_name(f".{path.name}.void")
    with contextlib.suppress(FileNotFoundError):
        if not by_kernel and not _make_marker(marker):
            return
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if by_kernel and holders.flock(descriptor) is not True:
                return
            opened, named = os.fstat(descriptor), path.stat()
            same = os.path.samestat(opened, named) and opened.st_mtime_ns == sign.beat
            if same and holders.read_holder(descriptor) == sign.holder:
                path.unlink()
        finally:
            if descriptor >= 0:
                os.close(descriptor)
            if not by_kernel:
                marker.unlink(missing_ok=True)


def _make_marker(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        sign = holders.look(marker)
        if sign is not None and sign.alive is False:  # whoever made it died on the way
            marker.unlink(missing_ok=True)
        return False
    return True


def _remove_own(path: Path, descriptor: int) -> None:
    """Remove a lock file that this process has made, while it is still held."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            path.unlink()
