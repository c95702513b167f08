"""Locks that end with the process: one per subject, and a short one for files that all subjects share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from migxai.errors import OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_DIR = ".locks"
SHARED_TIMEOUT = 120.0


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
        killed is void: the operating system ends it.
    """
    name = f"sub-{label}" if session is None else f"sub-{label}_ses-{session}"
    message = (
        f"{name} is being processed by another run into the same output directory; wait until it ends, "
        "or choose another output directory."
    )
    with _locked(output_dir, name, timeout=0, busy=message):
        yield


@contextlib.contextmanager
def group_lock(output_dir: Path) -> Iterator[None]:
    """Hold the output's ``group`` folder for one run of the group level; another one is refused at once.

    Raises
    ------
    OutputError
        If another living process holds it, or the lock cannot be written.
    """
    message = (
        "The group level is being run by another process into the same output directory; wait until it ends, or choose "
        "another output directory."
    )
    with _locked(output_dir, "group", timeout=0, busy=message):
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
        "check whether one of them hangs."
    )
    with _locked(output_dir, "shared", timeout=timeout, busy=message):
        yield


@contextlib.contextmanager
def _locked(output_dir: Path, name: str, *, timeout: float, busy: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    folder = output_dir / LOCK_DIR
    path = folder / f"{name}.lock"
    lock = FileLock(path)
    try:
        _acquire(lock, path, timeout)
    except Timeout as error:
        raise OutputError(busy) from error
    except OSError as error:
        raise OutputError(f"The output directory cannot be written (lock {path.name}): {error.strerror}.") from error
    try:
        yield
    finally:
        # Removed while still held: whoever opened it meanwhile sees that the name is gone (`_acquire`) and retries.
        path.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):  # other subjects' locks are still in it
            folder.rmdir()


def _acquire(lock: BaseFileLock, path: Path, timeout: float) -> None:
    """Acquire the lock on a file that still bears the name, not on one that its last holder has just removed."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=timeout, poll_interval=0.02)
        except (FileNotFoundError, FileExistsError):
            if path.parent.exists() and not path.parent.is_dir():
                raise
            continue  # the last holder removed the empty folder in between
        if path.exists():
            return
        lock.release(force=True)
