"""What happens inside the child process of one subject.

The child leads its own process group, so that the parent can end it with everything it has started (registration
engines, nipype's workers); it ends itself and that group if the parent vanishes.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from migxai.config import Config
from migxai.errors import EXIT_INTERNAL, EXIT_RESOURCES, MigxaiError
from migxai.execution.progress import LogTo
from migxai.execution.resources import thread_environment

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
#: Options of glibc's mallopt, and the bytes they are set to.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _KEPT = -1, -3, 2**29


@dataclass(frozen=True)
class Event:
    """What a child tells its parent.

    Attributes
    ----------
    kind
        A ``step`` began; a ``log`` record of level `code`; the subject is ``done`` or has ``failed`` with exit code
        `code`.
    text
        Step, message or reason.
    detail
        Traceback of an internal error.
    peak_mb
        Largest resident memory of one process of the child, in MB, once done or failed.
    """

    kind: Literal["step", "log", "done", "failed"]
    text: str = ""
    code: int = 0
    detail: str = ""
    peak_mb: float = 0.0


#: Processes one subject, in a child: called with the configuration, the subject and a function that is told each step.
ProcessSubject = Callable[[Config, str, Callable[[str], None]], None]


@dataclass(frozen=True)
class ChildTask:
    """All a child needs to know, picklable.

    Attributes
    ----------
    process_subject
        A function of a module; the child imports it by its name.
    config, subject
        What it is called with.
    threads
        How many threads numerical libraries may use.
    output
        File that takes over standard output and error, or None to leave them alone.
    """

    process_subject: ProcessSubject
    config: Config
    subject: str
    threads: int
    output: Path | None = None


def prepare_environment(threads: int) -> None:
    """Set what nipype and the numerical libraries read when they are imported: no telemetry, so many threads."""
    os.environ.update({"NO_ET": "1", "NIPYPE_NO_ET": "1"} | thread_environment(threads))


def keep_freed_memory() -> Callable[[], object]:
    """Have glibc keep what is freed for what comes next; returns a function that gives it back to the system.

    By default every large array is fetched from the kernel, which zeroes it page by page, and returned when it is
    freed: an eighth of a subject's CPU time, and what subjects side by side slow each other down by. Elsewhere than
    with glibc nothing is changed.
    """
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return lambda: None
    for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        library.mallopt(option, _KEPT)
    return partial(library.malloc_trim, 0)


def failure(error: BaseException, subject: str) -> Event:
    """Describe an exception as the event ``failed``: its sentence and exit code, a traceback only for a bug."""
    if isinstance(error, MigxaiError):
        return Event("failed", str(error), error.exit_code, peak_mb=_peak_mb())
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        text = f"sub-{subject} ran out of memory; give it more, or try a smaller --nprocs or --low-mem."
        return Event("failed", text, EXIT_RESOURCES, detail, _peak_mb())
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        where = f" at {error.filename}" if error.filename else ""
        text = f"The disk is full{where}; make room, or put the work directory elsewhere with --work-dir."
        return Event("failed", text, EXIT_RESOURCES, detail, _peak_mb())
    text = f"internal error, {type(error).__name__}: {error}".splitlines()[0]
    return Event("failed", text, EXIT_INTERNAL, detail, _peak_mb())


def work(connection: Connection, task: ChildTask) -> None:
    """Process one subject, telling the parent through the connection how it goes.

    Parameters
    ----------
    connection
        The child's end of a duplex pipe.
    task
        What to do.
    """
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, args=(connection,), daemon=True).start()
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            connection.send(event)

    if task.output is not None:
        _redirect(task.output)
    prepare_environment(task.threads)
    logger = logging.getLogger("migxai")
    logger.setLevel(logging.DEBUG if task.config.run.verbose else logging.INFO)
    logger.addHandler(LogTo(lambda text, level: send(Event("log", text, level))))
    give_back = keep_freed_memory()

    def report(step: str) -> None:
        # What one step has freed would otherwise add to the peak of the next.
        give_back()
        send(Event("step", step))

    try:
        task.process_subject(task.config, task.subject, report)
        event = Event("done", peak_mb=_peak_mb())
    except BaseException as error:
        event = failure(error, task.subject)
        sys.stderr.write(event.detail)
    sys.stdout.flush()
    sys.stderr.flush()
    send(event)


def _die_with_parent(connection: Connection) -> None:
    # Nothing is ever sent this way: the read ends only when the parent's end of the pipe is gone.
    try:
        connection.recv()
    except (EOFError, OSError):
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _redirect(output: Path) -> None:
    """Send standard output and error, also those of programs started from here, to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a", encoding="utf-8") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)


def _peak_mb() -> float:
    """Return the largest resident set of this process or one it has waited for, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit
