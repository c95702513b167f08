"""Where a subject stands, also while it is being processed, or after its process was killed without a word."""

from __future__ import annotations

from pathlib import Path

from migxai.bids.records import record_path
from migxai.execution import lock_holders as holders
from migxai.execution.lock_holders import Sign
from migxai.execution.locks import look_at_subject
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
    sign = look_at_subject(output_dir, label)
    if sign is None:
        return state, reason
    if sign.alive is not False:
        return "running", describe_living(sign)
    if state == "complete":
        return state, reason
    ended = describe_dead(sign)
    record = record_path(output_dir, label)
    # Whoever had started the process may have outlived it and recorded its end; or the record is an earlier one's.
    if state == "failed" and record.is_file() and record.stat().st_mtime_ns >= sign.beat:
        return "failed", reason if ended.startswith(UNKNOWN) else f"{reason}; {ended}"
    return "failed", ended


def describe_living(sign: Sign) -> str:
    """Say who holds a lock."""
    who = sign.holder.text if sign.holder else "just beginning"
    return who if sign.alive else f"{who}, but no sign of life for {sign.age:.0f} seconds"


def describe_dead(sign: Sign) -> str:
    """Say what became of a holder that is dead."""
    text = explain(sign.holder.job if sign.holder else "")
    if sign.holder is not None and sign.holder.boot != holders.boot_id():
        text += f"; no sign of life from {sign.holder.machine} for {sign.age:.0f} seconds"
    return text
