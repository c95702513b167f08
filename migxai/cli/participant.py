"""The participant level of the command line: process subjects, or show what would be done and where each stands."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from migxai import __version__
from migxai.bids.records import record_path, subject_status
from migxai.cli.preflight import check_plugin, doubts, prepare_output
from migxai.config import Config, Selection, directories, to_toml
from migxai.errors import EXIT_INPUT, EXIT_OK, EXIT_PARTIAL, EXIT_USAGE, MigxaiError
from migxai.execution.children import Children, failure
from migxai.execution.environment import UNKNOWN, Share, explain
from migxai.execution.locks import LockState, boot_id, lock_state
from migxai.execution.run import Journal, LogTo, Outcome, exit_code, running, tidy, write_config


def run_subject(config: Config, subject: str, report: Callable[[str], None]) -> None:
    """Process one subject in its child process, which alone imports nipype: that takes 2 s, and memory that is kept."""
    from migxai.participant import run

    run.run_subject(config, subject, report)


def report_subject(config: Config, subject: str, report: Callable[[str], None]) -> None:
    """Rebuild a subject's report in its child process."""
    from migxai.participant import run

    run.report_subject(config, subject, report)


def process(config: Config, subjects: Sequence[str], share: Share, *, reports_only: bool = False) -> int:
    """Process subjects (maybe none, for an array task beyond the last one) and return the exit code.

    `reports_only` rebuilds the reports of the results there are. Otherwise subjects that are complete are left out, and
    the output gets the configuration and a record of each failure. Raises `MigxaiError` if the run can't begin.
    """
    plugin = check_plugin(config)
    notes = prepare_output(config)
    if not reports_only:
        write_config(config)
    opening = f"migxai {__version__}, configuration {config.hash()}: {len(subjects)} subjects"
    with running(config, opening, subjects=len(subjects), notes=notes, doubts=doubts(config)) as journal:
        done = {} if reports_only else finished(config, subjects)
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
            outcomes = _run_with_plugin(config, waiting, plugin, journal)
        else:
            work = report_subject if reports_only else run_subject
            children = Children(config, share, process_subject=work, journal=journal, work_dir=directories(config)[2])
            outcomes = children.run(waiting)
        if not reports_only:
            _record_failures(config, outcomes, journal)
        outcomes += [Outcome(subject, "skipped") for subject in done]
        code = exit_code(outcomes)
        journal.message(_summary(outcomes) + (f"; the log is {journal.file}." if code else "."))
    if code == EXIT_OK:
        tidy(config, waiting)
    return code


def _run_with_plugin(
    config: Config, subjects: Sequence[str], plugin: dict[str, Any], journal: Journal
) -> list[Outcome]:
    """Run all subjects as one workflow in this process, whose steps a nipype plugin sends elsewhere."""
    journal.message(f"{len(subjects)} subjects are run with the nipype plugin {plugin['plugin']}.")
    if not subjects:
        return []
    from migxai.participant import run

    folder = directories(config)[2] / "plugin"
    logger, handler = logging.getLogger("migxai"), LogTo(journal.message)
    logger.setLevel(logging.DEBUG if config.run.verbose else logging.INFO)
    logger.addHandler(handler)
    try:
        errors = run.run_with_plugin(config.replace("run", work_dir=folder), subjects, plugin)
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


def _summary(outcomes: Sequence[Outcome]) -> str:
    counts = {"complete": 0, "skipped": 0, "failed": 0, "stopped": 0}
    for outcome in outcomes:
        counts[outcome.status] += 1
    parts = [f"{counts['complete'] + counts['skipped']} of {len(outcomes)} subjects complete"]
    parts += [f"{counts['skipped']} of them before"] if counts["skipped"] else []
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts += [f"{counts['stopped']} not run"] if counts["stopped"] else []
    return ", ".join(parts)


def _record_failures(config: Config, outcomes: Sequence[Outcome], journal: Journal) -> None:
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


def finished(config: Config, subjects: Sequence[str]) -> dict[str, str]:
    """Return the subjects that need nothing more, each with a sentence."""
    from migxai.bids.records import is_complete

    output_dir, key = directories(config)[1], config.resume_key()
    text = "complete already, with this version and configuration"
    return {subject: text for subject in subjects if is_complete(output_dir, subject, key)}


def write_boilerplate(config: Config) -> int:
    """Write the methods paragraph alone."""
    prepare_output(config)
    from migxai.participant import run

    run.write_boilerplate(config)
    return EXIT_OK


def write_sbatch(config: Config, subjects: Sequence[str], argv: Sequence[str] | None, *, group: bool) -> int:
    """Print a SLURM script that runs the subjects as an array of jobs."""
    from migxai.cli.sbatch import sbatch_script

    sys.stdout.write(sbatch_script(config, subjects, argv, group=group))
    return EXIT_OK


def show_plan(config: Config, subjects: Sequence[str], share: Share) -> int:
    """Print what would be run, and with what; nothing is written. Raises `MigxaiError` if the run could not begin."""
    from migxai.bids.inputs import collect_inputs

    check_plugin(config)
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
    lock = lock_state(output_dir, f"sub-{label}")
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
