"""What a run tells the user: a live display on a terminal, timestamped lines elsewhere, and a log file in any case."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TextIO

from migxai.errors import EXIT_OK

if TYPE_CHECKING:
    from rich.progress import TaskID

FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Outcome:
    """How one subject ended.

    Attributes
    ----------
    status
        ``skipped``: it was complete before this run; ``stopped``: it was not begun, or ended half-way, because the
        run stopped.
    exit_code
        The code the subject alone would give the run.
    message, hint
        The reason, and where on this machine to read more (which is kept out of the output).
    peak_mb
        Peak memory in MB, where it was recorded.
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
    """A display and the log file beside it.

    Parameters
    ----------
    display
        Shown to the user.
    file
        The log; its folder must exist.
    verbose
        Show debugging messages too.
    """

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
    """Hands what a library logs on: to the journal, or from a child to its parent.

    Parameters
    ----------
    tell
        Called with the message and its level.
    """

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record."""
        self._tell(record.getMessage(), record.levelno)
