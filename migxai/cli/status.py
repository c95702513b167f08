"""Where a subject stands, also while it is being processed, or after its process was killed without a word."""

from __future__ import annotations

from pathlib import Path

from migxai.bids.records import record_path
from migxai.execution.locks import LockState, boot_id, subject_lock_state
from migxai.execution.scheduler import UNKNOWN, explain


def standing(output_dir: Path, label: str, state: str, reason: str) -> tuple[str, str]:
    """Add to what a subject's record says what its lock says.

    Parameters
    ----------
    output_dir
        The output dataset.
    label
        The subject, without ``sub-``.
    state, reason
        By the record: see `migxai.bids.records.read_status`.

    Returns
    -------
    tuple of str
        State and reason: ``running``, or ``failed`` with what the batch system says of a job that was killed.
    """
    lock = subject_lock_state(output_dir, label)
    if lock is None:
        return state, reason
    if lock.alive is not False:
        return "running", _describe_living(lock)
    if state == "complete":
        return state, reason
    ended = _describe_dead(lock)
    record = record_path(output_dir, label)
    # Whoever had started the process may have outlived it and recorded its end; or the record is an earlier one's.
    if state == "failed" and record.is_file() and record.stat().st_mtime_ns >= lock.changed_ns:
        return "failed", reason if ended.startswith(UNKNOWN) else f"{reason}; {ended}"
    return "failed", ended


def _describe_living(lock: LockState) -> str:
    return lock.who if lock.alive else f"{lock.who}, but no sign of life for {lock.age:.0f} seconds"


def _describe_dead(lock: LockState) -> str:
    text = explain(lock.job)
    if lock.owner is not None and lock.owner.boot != boot_id():
        text += f"; no sign of life from {lock.owner.machine} for {lock.age:.0f} seconds"
    return text
