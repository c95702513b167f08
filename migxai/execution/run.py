"""What carries a run of either level from its first line in the log to its last.

It tells the user how it goes (a live display on a terminal, timestamped lines elsewhere, a log file in any case), ends
by a signal in good order, leaves no process behind, and tidies up.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal, Self, TextIO

from migxai.config import Config, directories, to_toml
from migxai.errors import EXIT_INPUT, EXIT_INTERNAL, EXIT_OK, EXIT_PARTIAL, EXIT_RESOURCES, EXIT_USAGE
from migxai.execution.locks import shared_lock
from migxai.io import write_text

if TYPE_CHECKING:
    from rich.progress import TaskID

FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Outcome:
    """How one subject ended.

    ``skipped`` was complete before this run; ``stopped`` was not begun, or ended half-way, because the run stopped.
    `exit_code` is what the subject alone would give the run, `hint` says where on this machine to read more (which is
    kept out of the output), and `peak_mb` is its peak memory in MB, where it was recorded.
    """

    subject: str
    status: Literal["complete", "skipped", "failed", "stopped"]
    exit_code: int = EXIT_OK
    message: str = ""
    hint: str = ""
    peak_mb: float | None = None

    def sentence(self) -> str:
        """Return the outcome as a line for the user."""
        return f"sub-{self.subject}: {self.status}" + (f": {self.message}" if self.message else "") + self.hint


class LineDisplay:
    """Timestamped lines, for batch jobs and files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def step(self, subject: str, text: str) -> None:
        """Write what a subject is at."""
        self.write(f"sub-{subject}: {text}")

    def end(self, outcome: Outcome) -> None:
        """Write how a subject ended."""
        self.write(outcome.sentence())

    def write(self, text: str) -> None:
        """Write a message."""
        self._stream.write(f"{time.strftime(FORMAT)} {text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: there is nothing to restore."""


class TerminalDisplay:
    """One live line for each running subject, and a bar for all of them."""

    def __init__(self, total: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream, highlight=False),
        )
        self._all = self._progress.add_task("all subjects", total=total)
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def step(self, subject: str, text: str) -> None:
        """Show what a subject is at."""
        if subject not in self._tasks:
            self._tasks[subject] = self._progress.add_task("", total=1)
        self._progress.update(self._tasks[subject], description=f"sub-{subject}: {text}")

    def end(self, outcome: Outcome) -> None:
        """Replace a subject's live line by how it ended."""
        if outcome.subject in self._tasks:
            self._progress.remove_task(self._tasks.pop(outcome.subject))
        self._progress.advance(self._all)
        self.write(outcome.sentence())

    def write(self, text: str) -> None:
        """Print a message above the live lines."""
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


#: What shows a run to the user.
Display = LineDisplay | TerminalDisplay


def make_display(total: int, stream: TextIO | None = None, *, live: bool = True) -> Display:
    """Return a live display if the stream is a terminal (and `live`), else one of lines."""
    stream = stream or sys.stderr
    return TerminalDisplay(total, stream) if live and stream.isatty() else LineDisplay(stream)


class Journal:
    """A display, and beside it the log file, whose folder must exist; `verbose` shows debugging messages too."""

    def __init__(self, display: Display, file: Path, *, verbose: bool = False) -> None:
        self.file = file
        self._display = display
        self._level = logging.DEBUG if verbose else logging.INFO
        self._stream = file.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._display.close()
        self._stream.close()

    def record(self, text: str) -> None:
        """Write to the log file alone."""
        self._stream.write(f"{time.strftime(FORMAT)} {text}\n")
        self._stream.flush()

    def message(self, text: str, level: int = logging.INFO) -> None:
        """Show a message and record it."""
        name = "" if level == logging.INFO else f"{logging.getLevelName(level)}: "
        self.record(name + text)
        if level >= self._level:
            self._display.write(name.lower() + text)

    def step(self, subject: str, text: str) -> None:
        """Show and record what a subject is at."""
        self.record(f"sub-{subject}: {text}")
        self._display.step(subject, text)

    def end(self, outcome: Outcome) -> None:
        """Show and record how a subject ended."""
        self.record(outcome.sentence())
        self._display.end(outcome)


class LogTo(logging.Handler):
    """Hands what a library logs on, with its level: to the journal, or from a child to its parent."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record."""
        self._tell(record.getMessage(), record.levelno)


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

    The output and work directories exist. `opening` is the log's first line, `subjects` how many are shown on their
    way (None at group level, where the opening is shown as well); `notes` go into the log alone, `doubts` are warned
    of.
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

    That is its log and those of `subjects`; the directory goes too, if no other run uses it.
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
