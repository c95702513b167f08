"""What a run does once the command line is read: process subjects, or show their status or the plan."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from migxai import __version__
from migxai.cli.preflight import directories, doubts, prepare_output
from migxai.config import Config, Selection, to_toml
from migxai.errors import EXIT_INPUT, EXIT_OK, EXIT_PARTIAL, EXIT_USAGE, MigxaiError
from migxai.execution.plugins.engine import read_plugin
from migxai.execution.progress import Journal, Outcome, make_display
from migxai.execution.resources import Share
from migxai.execution.runner import Runner, end_descendants, exit_code
from migxai.execution.worker import failure, resolve


@functools.cache
def log_file(work_dir: Path) -> Path:
    """Return this process's log file; jobs that share a work directory don't share it."""
    return work_dir / "logs" / f"migxai-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{time.time_ns() % 10**6:06d}.log"


def process(
    config: Config, subjects: Sequence[str], share: Share, *, entry: str, plugin_entry: str, compute: bool
) -> int:
    """Process subjects and return the exit code.

    Parameters
    ----------
    config
        The run's configuration.
    subjects
        Labels; may be none, for an array task beyond the last subject.
    share
        How the machine is divided.
    entry, plugin_entry
        What does the work: in child processes, or through a nipype plugin (with ``--use-plugin``).
    compute
        Whether results are made, rather than reports of those there are: then subjects that are complete are left
        out, and the output gets the configuration and a record of each failure.

    Raises
    ------
    MigxaiError
        If the run can't begin.
    """
    plugin = read_plugin(config.run.use_plugin) if config.run.use_plugin else None
    notes = prepare_output(config)
    _, _, work_dir = directories(config)
    file = log_file(work_dir)
    begin_log(file)
    if compute:
        write_config(config)
    display = make_display(len(subjects), live=config.run.verbose < 2)
    with Journal(display, file, verbose=config.run.verbose > 0) as journal:
        journal.record(f"migxai {__version__}, configuration {config.hash()}: {len(subjects)} subjects")
        for note in notes:
            journal.record(note)
        for sentence in doubts(config):
            journal.message(sentence, logging.WARNING)
        done = finished(config, subjects) if compute else {}
        waiting = [subject for subject in subjects if subject not in done]
        for subject, message in done.items():
            journal.end(Outcome(subject, "skipped", EXIT_OK, message))
        if share.memory_gb < share.need_gb and waiting:
            text = (
                f"{share.memory_gb:.1f} GB a subject may not be enough for these data ({share.need_gb:.1f} GB would "
                "be); a run that is killed for it is named."
            )
            journal.message(text, logging.WARNING)
        if plugin is not None:
            outcomes = _with_plugin(config, waiting, plugin_entry, plugin, journal)
        else:
            outcomes = Runner(config, share, entry=entry, journal=journal, work_dir=work_dir).run(waiting)
        if compute:
            record_failures(config, outcomes, journal)
        outcomes += [Outcome(subject, "skipped") for subject in done]
        code = exit_code(outcomes)
        journal.message(_summary(outcomes, file if code else None))
    if code == EXIT_OK and config.run.keep == "none" and not config.run.resource_monitor:
        tidy(config, file, waiting)
    return code


def begin_log(file: Path) -> None:
    """Make the log file in its folder, although a run that ends beside this one may just be removing that folder."""
    while not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file.touch()


def write_config(config: Config) -> None:
    """Write the configuration beside the outputs, as ``logs/config.toml``, for ``--config-file`` to reproduce it.

    What belongs to the machine stays out: the same results get the same file.
    """
    from migxai.execution.locks import shared_lock
    from migxai.io import write_text

    output_dir = directories(config)[1]
    with shared_lock(output_dir):
        portable = config.replace("run", nprocs=None, omp_nthreads=None, mem_gb=None, verbose=0)
        write_text(output_dir / "logs" / "config.toml", to_toml(portable))


class _ToJournal(logging.Handler):
    """Hands what the workflow logs in this process to the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.message(record.getMessage(), record.levelno)


def _with_plugin(
    config: Config, subjects: Sequence[str], entry: str, plugin: dict[str, object], journal: Journal
) -> list[Outcome]:
    journal.message(f"{len(subjects)} subjects are run with the nipype plugin {plugin['plugin']}.")
    if not subjects:
        return []
    folder = directories(config)[2] / "plugin"
    logger, handler = logging.getLogger("migxai"), _ToJournal(journal)
    logger.setLevel(logging.DEBUG if config.run.verbose else logging.INFO)
    logger.addHandler(handler)
    try:
        errors: dict[str, BaseException] = resolve(entry)(config.replace("run", work_dir=folder), subjects, plugin)
    except BaseException:
        # A pool's workers would be waited for at exit, for as long as their steps take.
        end_descendants()
        raise
    finally:
        logger.removeHandler(handler)
    outcomes = []
    if not errors and config.run.keep == "none":
        shutil.rmtree(folder, ignore_errors=True)
    for subject in subjects:
        if subject in errors:
            event = failure(errors[subject], subject)
            journal.record(event.detail)
            outcomes.append(Outcome(subject, "failed", event.code, event.text))
        else:
            outcomes.append(Outcome(subject, "complete"))
        journal.end(outcomes[-1])
    return outcomes


def _summary(outcomes: Sequence[Outcome], log: Path | None) -> str:
    counts = {"complete": 0, "skipped": 0, "failed": 0, "stopped": 0}
    for outcome in outcomes:
        counts[outcome.status] += 1
    parts = [f"{counts['complete'] + counts['skipped']} of {len(outcomes)} subjects complete"]
    parts += [f"{counts['skipped']} of them before"] if counts["skipped"] else []
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts += [f"{counts['stopped']} not run"] if counts["stopped"] else []
    return ", ".join(parts) + ("." if log is None else f"; the log is {log}.")


def tidy(config: Config, file: Path, subjects: Sequence[str]) -> None:
    """Remove what this run has left in the default work directory, and the directory if no other run uses it."""
    if config.run.work_dir is not None:
        return
    for path in [file, *(file.parent / f"sub-{subject}.log" for subject in subjects)]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: another run of an array is at work beside this one
        file.parent.rmdir()
        file.parent.parent.rmdir()


def write_boilerplate(config: Config, entry: str) -> int:
    """Write the methods paragraph alone."""
    prepare_output(config)
    resolve(entry)(config)
    return EXIT_OK


def show_plan(config: Config, subjects: Sequence[str], share: Share) -> int:
    """Print what would be run, and with what; nothing is written or computed.

    Raises
    ------
    MigxaiError
        If the run could not begin.
    """
    from migxai.bids.inputs import collect_inputs

    if config.run.use_plugin is not None:
        read_plugin(config.run.use_plugin)
    lines = [f"Configuration {config.hash()}, preset {config.preset}:"]
    lines += [f"  {line}" for line in to_toml(config).splitlines() if line]
    done, failures = finished(config, subjects), 0
    if subjects:
        inputs = collect_inputs(config.replace("selection", participant_label=tuple(subjects)))
        lines += [f"Input: {inputs.mode}, task {inputs.task}.", *(f"  {message}" for message in inputs.messages)]
        for subject in inputs.subjects:
            state = subject.failure or done.get(subject.label) or f"{len(subject.runs)} runs"
            failures += subject.failure is not None
            lines.append(f"sub-{subject.label}: {state.removeprefix(f'sub-{subject.label}: ')}")
            for run in subject.runs:
                lines += [f"  {run.bold.name}", *(f"    {message}" for message in run.messages)]
            lines += [f"  {message}" for message in subject.messages]
    lines.append(
        f"{len(subjects)} subjects, {share.subjects} at once, each with {share.threads} threads and "
        f"{share.memory_gb:.1f} GB; {len(done)} are complete already, {failures} can't be processed."
    )
    sys.stdout.write("\n".join(lines) + "\n")
    if not failures:
        return EXIT_OK
    return EXIT_INPUT if failures == len(subjects) else EXIT_PARTIAL


def finished(config: Config, subjects: Sequence[str]) -> dict[str, str]:
    """Return the subjects that need nothing more, each with a sentence."""
    from migxai.bids.records import is_complete

    output_dir, key = directories(config)[1], config.resume_key()
    text = "complete already, with this version and configuration"
    return {subject: text for subject in subjects if is_complete(output_dir, subject, key)}


def record_failures(config: Config, outcomes: Sequence[Outcome], journal: Journal) -> None:
    """Leave a record of each failure in the output, for ``--status``.

    A killed child can't do so itself. What a child has recorded with the same reason stays, since it knows more; a
    subject that another run holds is that run's to record.
    """
    from migxai.bids.records import SubjectRecord, read_record, without_paths, write_record

    bids_dir, output_dir, work_dir = directories(config)
    roots = {"<bids_dir>": bids_dir, "<output_dir>": output_dir, "<work_dir>": work_dir}
    for outcome in outcomes:
        if outcome.status != "failed" or outcome.exit_code == EXIT_USAGE:
            continue
        before = read_record(output_dir, outcome.subject)
        if before and before.state == "failed" and before.error == without_paths(outcome.message, roots):
            continue
        record = SubjectRecord(outcome.subject, "failed", config.resume_key(), error=outcome.message)
        try:
            write_record(output_dir, record, roots=roots)
        except MigxaiError as error:  # a full disk, say, which is then the reason of the failure anyway
            journal.message(f"sub-{outcome.subject}: the failure can't be recorded: {error}", logging.WARNING)


def show_status(config: Config, subjects: Sequence[str]) -> int:
    """Print which subjects are complete, and return 0 if all are, else 1.

    If the command line holds no settings, whatever configuration made the results will do.
    """
    from migxai.bids.records import read_status
    from migxai.cli.status import standing

    plain = Config(run=config.run, selection=Selection(participant_label=config.selection.participant_label))
    key = None if config == plain and not config.run.derivatives else config.resume_key()
    output_dir = directories(config)[1]
    table = read_status(output_dir, subjects, config_hash=key).iloc[: len(subjects)]
    found = [
        standing(output_dir, subject, str(state), str(reason))
        for subject, state, reason in zip(subjects, table["state"], table["reason"], strict=True)
    ]
    states, reasons = [state for state, _ in found], [reason for _, reason in found]
    columns = zip(table["participant_id"], states, table["usable_runs"], table["excluded_runs"], reasons, strict=True)
    lines = [
        f"{name}\t{state}\t{usable} usable, {excluded} excluded\t{reason}".rstrip()
        for name, state, usable, excluded, reason in columns
    ]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    sys.stdout.write("\n".join([*lines, f"{len(subjects)} subjects: {counts or 'none'}."]) + "\n")
    return EXIT_OK if all(state == "complete" for state in states) else EXIT_PARTIAL
