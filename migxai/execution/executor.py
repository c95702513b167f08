"""What carries a run of either level from its first line in the log to its last: signals, log, processes, tidying."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from migxai.config import Config, directories, to_toml
from migxai.errors import EXIT_INPUT, EXIT_INTERNAL, EXIT_OK, EXIT_PARTIAL, EXIT_RESOURCES, EXIT_USAGE
from migxai.execution.locks import shared_lock
from migxai.execution.progress import Journal, Outcome, make_display
from migxai.io import write_text


class Terminated(BaseException):
    """The run was asked to end by a signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Turn SIGTERM, SIGINT and SIGHUP into `Terminated`, once; further ones don't disturb the tidying up."""
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def handler(signum: int, _frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(signum)

    before = {each: signal.signal(each, handler) for each in handled}
    try:
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


@functools.cache
def log_file(work_dir: Path) -> Path:
    """Return this process's log file; jobs that share a work directory don't share it."""
    return work_dir / "logs" / f"migxai-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{time.time_ns() % 10**6:06d}.log"


@contextlib.contextmanager
def running(
    config: Config, opening: str, *, subjects: int | None = None, notes: Sequence[str] = (), doubts: Sequence[str] = ()
) -> Iterator[Journal]:
    """Keep the log of a run, and leave no process behind if it doesn't come to its end.

    Parameters
    ----------
    config
        The run's configuration, whose output and work directories exist.
    opening
        The log's first line.
    subjects
        How many are shown on their way; None at group level, where the opening is shown as well.
    notes
        Sentences for the log alone.
    doubts
        Sentences to warn of.

    Yields
    ------
    Journal
        Takes what the run tells.
    """
    file = log_file(directories(config)[2])
    # A run that ends beside this one may just be removing the folder.
    while not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file.touch()
    display = make_display(subjects or 0, live=subjects is not None and config.run.verbose < 2)
    with Journal(display, file, verbose=config.run.verbose > 0) as journal:
        (journal.message if subjects is None else journal.record)(opening)
        for note in notes:
            journal.record(note)
        for sentence in doubts:
            journal.message(sentence, logging.WARNING)
        try:
            yield journal
        except BaseException:
            # A pool's workers would be waited for at exit, for as long as their steps take.
            end_descendants()
            raise


def write_config(config: Config) -> None:
    """Write the configuration beside the outputs, as ``logs/config.toml``, for ``--config-file`` to reproduce it.

    What belongs to the machine stays out: the same results get the same file.
    """
    output_dir = directories(config)[1]
    with shared_lock(output_dir):
        portable = config.replace("run", nprocs=None, omp_nthreads=None, mem_gb=None, verbose=0)
        write_text(output_dir / "logs" / "config.toml", to_toml(portable))


def end_descendants() -> None:
    """Kill every process that this one has started, directly or not, but for the tracker of its shared resources.

    That one ends by itself once this process has, and would be missed by what tidies up until then.
    """
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if not any("multiprocessing.resource_tracker" in word for word in process.cmdline()):
                process.kill()


def tidy(config: Config, subjects: Sequence[str] = ()) -> None:
    """Remove what a run that went well has left in the default work directory, unless it is to be kept.

    The directory goes too, if no other run uses it.

    Parameters
    ----------
    config
        The run's configuration.
    subjects
        Labels of those whose logs this run has written.
    """
    run, file = config.run, log_file(directories(config)[2])
    if run.work_dir is not None or run.keep != "none" or run.resource_monitor:
        return
    for path in [file, *(file.parent / f"sub-{subject}.log" for subject in subjects)]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: another run of an array is at work beside this one
        file.parent.rmdir()
        file.parent.parent.rmdir()


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the exit code of a run from its subjects' outcomes.

    Running out of memory or disk shows even if other subjects are complete, since the remedy is another one; if no
    subject is complete, the code is that of the gravest reason.
    """
    codes = {outcome.exit_code for outcome in outcomes if outcome.exit_code != EXIT_OK}
    if not codes:
        return EXIT_OK
    if EXIT_RESOURCES in codes:
        return EXIT_RESOURCES
    if any(outcome.exit_code == EXIT_OK for outcome in outcomes):
        return EXIT_PARTIAL
    return next((code for code in (EXIT_INTERNAL, EXIT_INPUT, EXIT_USAGE) if code in codes), EXIT_PARTIAL)
