"""What has been done: one record a subject in the output's ``logs``, and what it says of the subject."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import migxai
from migxai.errors import InputError, OutputError
from migxai.io import read_json, write_json

_ABSOLUTE = re.compile(r"(?<![\w.:/>])/(?:[^\s/'\":;,]+/)*([^\s/'\":;,]+)")


@dataclass(frozen=True)
class OutputFile:
    """A file that a subject's run wrote: its path relative to the output dataset, its size and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RunRecord:
    """Whether a run can be used, and the reason if not."""

    name: str
    usable: bool
    reason: str | None = None


@dataclass(frozen=True)
class SubjectRecord:
    """What became of one subject. Holds no date, host or path of the machine, so that it is the same every time."""

    label: str
    state: Literal["complete", "failed"]
    config_hash: str
    version: str = migxai.__version__
    runs: tuple[RunRecord, ...] = ()
    outputs: tuple[OutputFile, ...] = ()
    error: str | None = None
    messages: tuple[str, ...] = ()


def record_path(output_dir: Path, label: str) -> Path:
    """Where a subject's record lies."""
    return output_dir / "logs" / f"sub-{label}.json"


def describe_output(output_dir: Path, path: Path) -> OutputFile:
    """Enter a written file into a record; raises `OutputError` if it cannot be read back."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return OutputFile(path.relative_to(output_dir).as_posix(), path.stat().st_size, digest)
    except OSError as error:
        raise OutputError(f"{path.name} was written but cannot be read back: {error.strerror}.") from error


def write_record(output_dir: Path, record: SubjectRecord, *, roots: Mapping[str, Path] | None = None) -> None:
    """Write a subject's record.

    `roots` are directories that sentences may name, by what is to stand in their place, as ``{"<work>": work_dir}``.
    """
    content = asdict(record)
    content["error"] = None if record.error is None else without_paths(record.error, roots or {})
    content["messages"] = [without_paths(text, roots or {}) for text in record.messages]
    content["runs"] = [
        asdict(run) | {"reason": None if run.reason is None else without_paths(run.reason, roots or {})}
        for run in record.runs
    ]
    write_json(record_path(output_dir, record.label), content)


def without_paths(text: str, roots: Mapping[str, Path]) -> str:
    """Take the machine's paths out of a sentence: known folders by a word, other absolute paths but for their name.

    >>> without_paths("/data/study/sub-01/x.nii and /tmp/abc/y.nii", {"<bids_dir>": Path("/data/study")})
    '<bids_dir>/sub-01/x.nii and y.nii'
    """
    for word, root in sorted(roots.items(), key=lambda item: -len(str(item[1]))):
        for form in {str(root), str(root.resolve())} - {"/", "."}:
            text = text.replace(form, word)
    return _ABSOLUTE.sub(r"\1", text)


def read_record(output_dir: Path, label: str) -> SubjectRecord | None:
    """Read a subject's record; None if there is none, or none that can be read (a run cut off, another version)."""
    try:
        content = read_json(record_path(output_dir, label))
        return SubjectRecord(
            **content
            | {
                "runs": tuple(RunRecord(**run) for run in content["runs"]),
                "outputs": tuple(OutputFile(**output) for output in content["outputs"]),
                "messages": tuple(content["messages"]),
            }
        )
    except (InputError, ValueError, KeyError, TypeError):
        return None


def missing_outputs(output_dir: Path, record: SubjectRecord) -> tuple[str, ...]:
    """List the outputs of a record that are gone or have another size than they were written with."""

    def intact(output: OutputFile) -> bool:
        path = output_dir / output.path
        return path.is_file() and path.stat().st_size == output.size

    return tuple(output.path for output in record.outputs if not intact(output))


def is_complete(output_dir: Path, label: str, config_hash: str) -> bool:
    """Whether a subject needs nothing more: complete, by this configuration and version, with all its outputs."""
    record = read_record(output_dir, label)
    return (
        record is not None
        and record.state == "complete"
        and record.config_hash == config_hash
        and record.version == migxai.__version__
        and not missing_outputs(output_dir, record)
    )


class SubjectStatus(NamedTuple):
    """How far a subject is: complete, failed, incomplete, outdated or missing, and why."""

    state: str
    reason: str = ""
    usable_runs: int = 0
    excluded_runs: int = 0


def subject_status(output_dir: Path, label: str, config_hash: str | None = None) -> SubjectStatus:
    """Read from its record how far a subject is; made with another configuration than this, if given, is outdated."""
    record = read_record(output_dir, label)
    if record is None:
        return SubjectStatus("missing", "no record: not started, or ended before its end")
    excluded = [f"{run.name}: {run.reason}" for run in record.runs if not run.usable]
    gone = missing_outputs(output_dir, record)
    if record.state == "failed":
        state, reason = "failed", record.error or "no reason was recorded"
    elif gone:
        state, reason = "incomplete", f"{len(gone)} outputs are gone or changed, such as {gone[0]}"
    elif config_hash is not None and record.config_hash != config_hash:
        state, reason = "outdated", "made with another configuration"
    else:
        state, reason = "complete", "; ".join(excluded)
    return SubjectStatus(state, reason, len(record.runs) - len(excluded), len(excluded))
