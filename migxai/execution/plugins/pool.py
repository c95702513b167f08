"""nipype's process pool, made safe for the group level: a killed worker is a failure with a name, never a hang."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from migxai.errors import EXIT_INTERNAL, ResourceError


def quieten() -> None:
    """Keep nipype's own narration out of what the user reads; what fails is told in any case."""
    from nipype import logging as nipype_logging

    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        nipype_logging.getLogger(name).setLevel("CRITICAL")


def prepare_worker() -> None:
    """Make a process of the pool quiet, and let nobody but its parent end it: Ctrl-C reaches all of a terminal."""
    quieten()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # The workers of a parent that was killed would wait for ever, or write into the files of the run that follows it.
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(EXIT_INTERNAL)


class PoolPlugin(MultiProcPlugin):
    """MultiProc whose nodes end with a crash when the process that ran them was killed.

    nipype reads a node's result in a callback, and an exception in a callback is lost: the node then counts as running
    for ever.
    """

    def __init__(self, processes: int, memory_gb: float, report: Any = None) -> None:
        quieten()
        arguments = {"n_procs": processes, "memory_gb": memory_gb, "raise_insufficient": False}
        super().__init__(plugin_args=arguments | ({"status_callback": report} if report else {}))
        self.pool.shutdown()
        # No fork: torch and OpenMP don't survive it.
        self.pool: ProcessPoolExecutor = ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=prepare_worker
        )

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        taskid: int = self._taskid
        try:
            future = self.pool.submit(run_node, node, updatehash, taskid)
        except BrokenExecutor as error:  # a worker died before this node's turn
            future = Future()
            future.set_exception(error)
        self._task_obj[taskid] = future
        future.add_done_callback(partial(self._finished, taskid))
        return taskid

    def _finished(self, taskid: int, future: Future[dict[str, Any]]) -> None:
        error = future.exception()
        self._taskresult[taskid] = future.result() if error is None else self._lost(taskid, error)

    @staticmethod
    def _lost(taskid: int, error: BaseException) -> dict[str, Any]:
        sentence = ResourceError(
            "A worker process was killed, most likely for memory; give more (--mem-gb, or the batch job's), or fewer "
            "--nprocs. What was complete is kept, and the same command goes on from there."
        )
        # Lines as those of a traceback, which nipype joins as they are.
        trace = [f"{type(error).__name__}: {error}\n", "\n", f"migxai.errors.ResourceError: {sentence}\n", "\n"]
        return {"result": None, "traceback": trace, "taskid": taskid}
