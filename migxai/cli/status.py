"""Where each subject stands, also while it is being processed, or after its process was killed without a word."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from migxai.bids.records import record_path, subject_status
from migxai.config import Config, Selection, directories
from migxai.errors import EXIT_OK, EXIT_PARTIAL
from migxai.execution.locks import LockState, boot_id, subject_lock_state
from migxai.execution.scheduler import UNKNOWN, explain


def show_status(config: Config, subjects: Sequence[str]) -> int:
    """Print which subjects are complete, and return 0 if all are, else 1.

    If the command line holds no settings, whatever configuration made the results will do.
    """
    plain = Config(run=config.run, selection=Selection(participant_label=config.selection.participant_label))
    key = None if config == plain and not config.run.derivatives else config.resume_key()
    output_dir = directories(config)[1]
    states, lines = [], []
    for subject in subjects:
        recorded = subject_status(output_dir, subject, key)
        state, reason = current_state(output_dir, subject, recorded.state, recorded.reason)
        runs = f"{recorded.usable_runs} usable, {recorded.excluded_runs} excluded"
        states.append(state)
        lines.append(f"sub-{subject}\t{state}\t{runs}\t{reason}".rstrip())
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    sys.stdout.write("\n".join([*lines, f"{len(subjects)} subjects: {counts or 'none'}."]) + "\n")
    return EXIT_OK if all(state == "complete" for state in states) else EXIT_PARTIAL


def current_state(output_dir: Path, label: str, state: str, reason: str) -> tuple[str, str]:
    """Add to what a subject's record says what its lock says: whether it is running, or was killed, and by whom."""
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
