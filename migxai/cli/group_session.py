"""What the group level does once the command line is read: run, or show the plan or what is missing."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from migxai import __version__
from migxai.cli.doors import Doors
from migxai.cli.preflight import check_shared_memory, directories, doubts, prepare_output
from migxai.cli.session import begin_log, log_file, tidy, write_config
from migxai.config import Config
from migxai.errors import EXIT_AUDIT, EXIT_OK, EXIT_PARTIAL
from migxai.execution.plugins.engine import read_plugin
from migxai.execution.progress import Journal, make_display
from migxai.execution.resources import cpu_count, memory_gb
from migxai.execution.runner import end_descendants
from migxai.execution.worker import prepare_environment, resolve

if TYPE_CHECKING:
    from migxai.cli.parser import Request


def process(request: Request, doors: Doors) -> int:
    """Do what the command line asks of the group level, and return the exit code.

    Raises
    ------
    MigxaiError
        If it can't begin, or nothing could be computed.
    """
    # Before anything below imports nipype or a numerical library; units are single-threaded, so that results are the
    # same bits on any number of CPUs.
    prepare_environment(1)
    config, action = request.config, request.action
    if action == "dry_run":
        return _show(resolve(doors.describe_group)(config), EXIT_OK)
    if action == "status":
        missing: list[str] = resolve(doors.group_status)(config)
        return _show(missing or ["The group level is complete."], EXIT_PARTIAL if missing else EXIT_OK)
    notes = prepare_output(config)
    if action == "run" and request.predict is None:
        return _run(config, doors, notes)
    try:
        if action == "reports_only":
            return _show(resolve(doors.score_group)(config), EXIT_OK)
        return _show(resolve(doors.predict_group)(config, request.predict), EXIT_OK)
    finally:
        if config.run.work_dir is None:
            with contextlib.suppress(OSError):  # not empty: a run is at work beside this one, or has left something
                directories(config)[2].rmdir()


def _show(lines: Sequence[str], code: int) -> int:
    sys.stdout.write("\n".join(lines) + "\n")
    return code


def _run(config: Config, doors: Doors, notes: Sequence[str]) -> int:
    check_shared_memory()
    if config.run.use_plugin is not None:
        read_plugin(config.run.use_plugin)
    processes, memory = config.run.nprocs or cpu_count(), config.run.mem_gb or memory_gb()
    file = log_file(directories(config)[2])
    begin_log(file)
    write_config(config)
    with Journal(make_display(0, live=False), file, verbose=config.run.verbose > 0) as journal:
        journal.message(f"migxai {__version__}, group level, {processes} CPUs, {memory:.1f} GB")
        for note in notes:
            journal.record(note)
        for sentence in doubts(config):
            journal.message(sentence, logging.WARNING)
        try:
            failures: list[str] = resolve(doors.run_group)(config, processes, memory, journal.message)
        except BaseException:
            # A pool's workers would be waited for at exit, for as long as their steps take.
            end_descendants()
            raise
        for sentence in failures:
            journal.message(sentence)
        doubtful: list[str] = resolve(doors.failed_checks)(config) if config.run.strict else []
        for sentence in doubtful:
            journal.message(f"Check failed: {sentence}")
        parts = "1 part" if len(failures) == 1 else f"{len(failures)} parts"
        journal.message("Done." if not failures else f"{parts} failed; the log is {file}.")
    if not failures and config.run.keep == "none":
        tidy(config, file, ())
    if failures:
        return EXIT_PARTIAL
    return EXIT_AUDIT if doubtful else EXIT_OK
