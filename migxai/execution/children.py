"""One child process a subject, as many at once as there is room for.

nipype's own process pool waits for ever when one of its workers is killed; here a killed child is an outcome like any
other, and the subjects beside it go on.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from migxai.config import Config
from migxai.errors import EXIT_INTERNAL, EXIT_OK, EXIT_PARTIAL, EXIT_RESOURCES
from migxai.execution.progress import Journal, Outcome
from migxai.execution.resources import Share
from migxai.execution.worker import ChildTask, Event, ProcessSubject, work

#: Seconds a child gets to go quietly.
GRACE = 2.0
#: Seconds a child gets to exit after it has said that it is done.
LINGER = 20.0
#: Seconds between looks at the memory of the children.
SAMPLING = 0.5

MEMORY_SIGNALS = (signal.SIGKILL, signal.SIGBUS)


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
    """Runs subjects in child processes.

    Parameters
    ----------
    config
        The run's configuration; children get it with their own share of CPUs and memory.
    share
        How the machine is divided.
    process_subject
        Called in the child as ``process_subject(config, subject, report)``; a function of a module that imports nothing
        heavy, since a child imports it before it has set its environment, and this process for nothing.
    journal
        Told how it goes.
    work_dir
        Each child gets a folder in it of its own; ``logs`` in it takes the children's output.
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
