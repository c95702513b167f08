"""The group level of the command line: run it, or show what would be done or is missing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from migxai import __version__
from migxai.cli.preflight import check_plugin, check_shared_memory, doubts, prepare_output
from migxai.config import Config, directories
from migxai.errors import EXIT_AUDIT, EXIT_OK, EXIT_PARTIAL
from migxai.execution.environment import cpu_count, memory_gb
from migxai.execution.run import running, tidy, write_config


def process(config: Config) -> int:
    """Run the group level and return the exit code; raises `MigxaiError` if it can't begin, or nothing was computed."""
    notes = prepare_output(config)
    check_shared_memory()
    check_plugin(config)
    processes, memory = config.run.nprocs or cpu_count(), config.run.mem_gb or memory_gb()
    write_config(config)
    # Now that the places are known where libraries may keep their caches; they ask once, when they are imported.
    from migxai.group.run import failed_checks, run_group

    opening = f"migxai {__version__}, group level, {processes} CPUs, {memory:.1f} GB"
    with running(config, opening, notes=notes, doubts=doubts(config)) as journal:
        failures = run_group(config, processes, memory, journal.message)
        for sentence in failures:
            journal.message(sentence)
        doubtful = failed_checks(config) if config.run.strict else []
        for sentence in doubtful:
            journal.message(f"Check failed: {sentence}")
        parts = "1 part" if len(failures) == 1 else f"{len(failures)} parts"
        journal.message("Done." if not failures else f"{parts} failed; the log is {journal.file}.")
    if failures:
        return EXIT_PARTIAL
    tidy(config)
    return EXIT_AUDIT if doubtful else EXIT_OK


def rewrite_scores(config: Config) -> int:
    """Write scores and report anew from the predictions that are there."""
    with _output(config):
        from migxai.group.run import score_group

        return _show(score_group(config))


def predict(config: Config, model: Path) -> int:
    """Classify maps with a saved model."""
    with _output(config):
        from migxai.group.predict import predict_group

        return _show(predict_group(config, model))


def show_plan(config: Config) -> int:
    """Print what would be run; nothing is written."""
    from migxai.group.run import describe_group

    return _show(describe_group(config))


def show_status(config: Config) -> int:
    """Print what is missing, and return 0 if nothing is, else 1."""
    from migxai.group.run import group_status

    missing = group_status(config)
    return _show(missing or ["The group level is complete."], EXIT_PARTIAL if missing else EXIT_OK)


@contextlib.contextmanager
def _output(config: Config) -> Iterator[None]:
    """Have the output directory ready, without the work directory that only a run needs to stay."""
    prepare_output(config)
    try:
        yield
    finally:
        if config.run.work_dir is None:
            with contextlib.suppress(OSError):  # not empty: a run is at work beside this one, or has left something
                directories(config)[2].rmdir()


def _show(lines: Sequence[str], code: int = EXIT_OK) -> int:
    sys.stdout.write("\n".join(lines) + "\n")
    return code
