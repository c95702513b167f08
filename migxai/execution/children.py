"""One child process a subject, as many at once as there is room for.

nipype's own process pool waits for ever when one of its workers is killed; here a killed child is an outcome like any
other, and the subjects beside it go on. The child leads its own process group, so that the parent can end it with
everything it has started (registration engines, nipype's workers); it ends itself and that group if the parent
vanishes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

from migxai.config import Config
from migxai.errors import EXIT_INTERNAL, EXIT_OK, EXIT_PARTIAL, EXIT_RESOURCES, MigxaiError
from migxai.execution.environment import Share, prepare_environment
from migxai.execution.run import Journal, LogTo, Outcome

#: Seconds a child gets to go quietly.
GRACE = 2.0
#: Seconds a child gets to exit after it has said that it is done.
LINGER = 20.0
#: Seconds between looks at the memory of the children.
SAMPLING = 0.5

MEMORY_SIGNALS = (signal.SIGKILL, signal.SIGBUS)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
#: Options of glibc's mallopt, and the bytes they are set to.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _KEPT = -1, -3, 2**29


@dataclass(frozen=True)
class Event:
    """What a child tells its parent.

    A ``step`` began; a ``log`` record of level `code`; the subject is ``done`` or has ``failed`` with exit code `code`.
    `detail` is the traceback of an internal error, `peak_mb` the largest resident memory of one process of the child,
    in MB, once done or failed.
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

    `threads` is how many numerical libraries may use, `output` a file that takes over standard output and error.
    """

    process_subject: ProcessSubject
    config: Config
    subject: str
    threads: int
    output: Path | None = None


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
    """Process one subject in a child, telling the parent through its end of a duplex pipe how it goes."""
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


@dataclass
class _Child:
    process: SpawnProcess
    connection: Connection
    subject: str
    last: Event | None = None
    ended_at: float | None = None
    peak_mb: float = 0.0
    step: str = "starting"
    open: bool = True

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


class Children:
    """Runs subjects in child processes; each gets its own share of CPUs and memory, and a folder in `work_dir`.

    `process_subject` is a function of a module that imports nothing heavy, since a child imports it before it has set
    its environment, and this process for nothing. ``logs`` in `work_dir` takes the children's output.
    """

    def __init__(
        self, config: Config, share: Share, *, process_subject: ProcessSubject, journal: Journal, work_dir: Path
    ) -> None:
        self._config = config
        self._share = share
        self._process_subject = process_subject
        self._journal = journal
        self._work_dir = work_dir
        self._logs = work_dir / "logs"
        self._children: list[_Child] = []
        self._sampled_at = 0.0

    def run(self, subjects: Sequence[str]) -> list[Outcome]:
        """Process subjects and return their outcomes, in the order given.

        Whatever ends this function (a signal too), no child is left when it returns.
        """
        waiting, outcomes = deque(subjects), dict[str, Outcome]()
        try:
            while waiting or self._children:
                while waiting and len(self._children) < self._share.subjects:
                    self._start(waiting.popleft())
                for outcome in self._collect():
                    outcomes[outcome.subject] = outcome
                    if outcome.exit_code == EXIT_OK and self._config.run.keep == "none":
                        # A leftover (a file that a network drive still holds, say) is no failure.
                        shutil.rmtree(self._folder(outcome.subject), ignore_errors=True)
                    self._journal.end(outcome)
                if self._config.run.stop_on_first_crash and any(item.exit_code for item in outcomes.values()):
                    break
        finally:
            self._end_children()
        for subject in subjects:
            if subject not in outcomes:
                reason = "another subject failed and --stop-on-first-crash was given"
                outcomes[subject] = Outcome(subject, "stopped", EXIT_PARTIAL, reason)
                self._journal.end(outcomes[subject])
        if self._config.run.resource_monitor:
            self._write_resources(outcomes)
        return [outcomes[subject] for subject in subjects]

    def _folder(self, subject: str) -> Path:
        return self._work_dir / f"sub-{subject}"

    def _start(self, subject: str) -> None:
        run = dataclasses.replace(
            self._config.run,
            nprocs=self._share.threads,
            omp_nthreads=self._share.threads,
            mem_gb=self._share.memory_gb,
            work_dir=self._folder(subject),
        )
        output = self._logs / f"sub-{subject}.log" if run.verbose < 2 else None
        config = dataclasses.replace(self._config, run=run)
        task = ChildTask(self._process_subject, config, subject, self._share.threads, output)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(target=work, args=(theirs, task), name=f"migxai sub-{subject}")
        process.start()
        theirs.close()
        self._children.append(_Child(process, ours, subject))
        self._journal.step(subject, "starting")

    def _collect(self) -> Iterator[Outcome]:
        """Wait a moment for news, pass them on, and yield the outcomes of children that have ended."""
        watched = [child.connection for child in self._children if child.open]
        wait([*watched, *(child.process.sentinel for child in self._children)], timeout=SAMPLING)
        if self._config.run.resource_monitor and time.monotonic() - self._sampled_at >= SAMPLING:
            self._sample_memory()
        for child in list(self._children):
            exited = not child.process.is_alive()
            self._read(child)
            if child.ended_at is not None and time.monotonic() - child.ended_at > LINGER:
                # It has said that it is done: what holds it up (a pool's thread, say) has no say in the outcome.
                self._signal(child, signal.SIGKILL)
            if exited:
                self._children.remove(child)
                yield self._outcome(child)

    def _read(self, child: _Child) -> None:
        try:
            while child.open and child.connection.poll():
                self._handle(child, child.connection.recv())
        except (EOFError, OSError):
            child.open = False

    def _handle(self, child: _Child, event: Event) -> None:
        if event.kind == "step":
            child.step = event.text
            self._journal.step(child.subject, event.text)
        elif event.kind == "log":
            self._journal.message(f"sub-{child.subject}: {event.text}", event.code)
        else:
            child.last, child.ended_at = event, time.monotonic()

    def _outcome(self, child: _Child) -> Outcome:
        child.process.join()
        child.connection.close()
        # What the subject had started may outlive it, if it was killed.
        self._signal(child, signal.SIGKILL)
        event, code = child.last, child.process.exitcode or 0
        peak = max(child.peak_mb, event.peak_mb if event else 0.0) if self._config.run.resource_monitor else None
        if event is not None and event.kind == "done":
            return Outcome(child.subject, "complete", peak_mb=peak)
        if event is not None:
            if event.detail:
                self._journal.record(f"sub-{child.subject}: {event.detail}")
            where = f" (traceback in {self._journal.file})" if event.code == EXIT_INTERNAL else ""
            return Outcome(child.subject, "failed", event.code, event.text, where, peak)
        where = f"while at the step '{child.step}'"
        if -code in MEMORY_SIGNALS:
            text = (
                f"killed by signal {-code}, most likely out of memory, {where}; "
                "give --mem-gb or fewer --nprocs, or more memory"
            )
            return Outcome(child.subject, "failed", EXIT_RESOURCES, text, peak_mb=peak)
        if code < 0:
            name = signal.Signals(-code).name
            resources = -code in (signal.SIGTERM, signal.SIGXCPU)
            exit_code = EXIT_RESOURCES if resources else EXIT_INTERNAL
            text = f"killed by signal {-code} ({name}) {where}"
            return Outcome(child.subject, "failed", exit_code, text, peak_mb=peak)
        text = f"internal error: its process ended with code {code} {where}, without a word"
        return Outcome(child.subject, "failed", EXIT_INTERNAL, text, f" (see {self._logs})", peak)

    def _signal(self, child: _Child, signum: int) -> None:
        """Send a signal to a child and all it has started."""
        try:
            os.killpg(child.pid, signum)
        except (ProcessLookupError, PermissionError):
            # No such group: the child has ended, or has not come as far as founding it.
            if child.process.is_alive():
                os.kill(child.pid, signum)

    def _end_children(self) -> None:
        if not self._children:
            return
        for child in self._children:
            self._signal(child, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for child in self._children:
            child.process.join(max(0.0, deadline - time.monotonic()))
        for child in self._children:
            self._signal(child, signal.SIGKILL)
            child.process.join()
            child.connection.close()
        self._journal.message(f"{len(self._children)} running subjects were ended.", logging.WARNING)
        self._children.clear()

    def _sample_memory(self) -> None:
        import psutil

        self._sampled_at = time.monotonic()
        for child in self._children:
            try:
                process = psutil.Process(child.pid)
                total = sum(member.memory_info().rss for member in [process, *process.children(recursive=True)])
            except psutil.NoSuchProcess:  # it ended between two looks
                continue
            child.peak_mb = max(child.peak_mb, total / 1e6)

    def _write_resources(self, outcomes: dict[str, Outcome]) -> None:
        peaks = {f"sub-{name}": {"peak_rss_mb": outcome.peak_mb} for name, outcome in sorted(outcomes.items())}
        file = self._journal.file.with_name(self._journal.file.stem + "_resources.json")
        file.write_text(json.dumps(peaks, indent=2) + "\n", encoding="utf-8")
