"""nipype's workflows: steps that tell what they used, plugins that never hang, crashes turned into sentences."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import SimpleInterface
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from migxai import errors
from migxai.errors import EXIT_INTERNAL, ResourceError, UsageError

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow

# nipype indents the traceback of an interface by a tab.
_ERROR_LINE = re.compile(r"^\s*migxai\.errors\.(\w+): (.+?)(?=\n\s*\n|\nThe above|\Z)", re.MULTILINE | re.DOTALL)
#: Plugins that return before the work is done, of which nobody then would hear.
_NO_ANSWER = ("SLURMGraph", "SGEGraph", "PBSGraph", "CondorDAGMan", "SOMA")
_FORM = "it needs 'plugin: NAME' and, where there are any, 'plugin_args:' with names and values"
_SUBJECT = re.compile(r"\bsub_(\w+?)_wf\b")


class MeasuredInterface(SimpleInterface):
    """A step of a workflow whose result says what it used.

    That is ``peak_gb``, by the kernel's account of its whole process up to its end, since a thread that samples gets no
    turn while an engine holds the interpreter; and ``cpu_seconds``.
    """

    def _pre_run_hook(self, runtime: Any) -> Any:
        runtime.cpu_seconds = -time.process_time()
        return runtime

    def _post_run_hook(self, runtime: Any) -> Any:
        runtime.cpu_seconds += time.process_time()
        unit = 1e9 if sys.platform == "darwin" else 1e6 / 1.024
        runtime.peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return runtime


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


@dataclass(frozen=True)
class Crash:
    """What one failed node left behind."""

    subject: str
    node: str
    error: errors.MigxaiError


@dataclass
class Execution:
    """What came of a workflow: its crashes, by the time of their happening, and the files that were written."""

    crashes: list[Crash] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)

    def written(self, subject: str) -> list[str]:
        """Paths, relative to the output dataset, of what one subject's nodes wrote."""
        return self.files.get(subject, [])


def execute(
    workflow: Workflow,
    *,
    stop_on_first_crash: bool = False,
    used_file: Path | None = None,
    plugin: str | Any = "Linear",
    plugin_args: dict[str, Any] | None = None,
    report: Callable[[str, str], None] | None = None,
) -> Execution:
    """Run a workflow, whose ``base_dir`` is set, to its end, and gather what was written and what crashed.

    Parameters
    ----------
    stop_on_first_crash
        Leave out everything that has not begun when a node fails.
    used_file
        Where to write what each step used (see `write_used`), if at all.
    plugin, plugin_args
        A nipype plugin, by name or as an instance; ``Linear`` runs in this process.
    report
        Called with a node's full name and ``start``, ``end`` or ``exception``.
    """
    crash_dir = Path(workflow.base_dir) / "crashes"
    crash_dir.mkdir(parents=True, exist_ok=True)
    # Crashes of an earlier, resumed run are not this run's.
    for old in crash_dir.glob("crash-*"):
        old.unlink()
    workflow.config["execution"] = {
        "crashdump_dir": str(crash_dir),
        "crashfile_format": "txt",
        "stop_on_first_crash": str(stop_on_first_crash).lower(),
        # The work directory is ours to delete; nipype must not thin it out while other nodes may still read.
        "remove_unnecessary_outputs": "false",
        "create_report": "false",
        "check_version": "false",
        "poll_sleep_duration": "0.1",
    }
    arguments = dict(plugin_args or {})
    if report is not None:
        arguments["status_callback"] = lambda node, status: report(node.fullname, status)
    if plugin == "SLURM":
        from migxai.execution.plugins import slurm

        quieten()
        plugin = slurm.SlurmPlugin(arguments)
        workflow.config["execution"]["job_finished_timeout"] = str(slurm.VISIBLE)
    elif isinstance(plugin, str):
        from nipype.pipeline import plugins

        plugin = getattr(plugins, f"{plugin}Plugin")(plugin_args=arguments)
    try:
        graph = workflow.run(plugin=plugin)
    except errors.MigxaiError:
        raise
    except Exception as error:
        crashes = read_crashes(crash_dir)
        if not crashes:
            # Nothing crashed inside a node: the plugin itself failed, which nobody else will report.
            name = type(plugin).__name__.removesuffix("Plugin")
            raise ResourceError(f"The nipype plugin {name} could not run the workflow: {error}") from error
        # The subjects beside the one that failed are complete; plugins that run several keep the list of nodes.
        nodes = list(getattr(plugin, "procs", None) or ())
        return Execution(crashes, _written(nodes))
    nodes = list(graph.nodes())
    if used_file is not None:
        write_used(nodes, used_file)
    return Execution(read_crashes(crash_dir), _written(nodes))


def write_used(nodes: Iterable[Any], file: Path) -> None:
    """Write what each step had asked for and what it used, as JSON.

    That is memory in GB (the peak is that of the whole process up to the step's end, where several share one), and
    wall and CPU time in seconds.
    """
    used = {}
    for node in nodes:
        runtime = node.result.runtime
        if getattr(runtime, "peak_gb", None) is not None:
            used[node.fullname] = {
                "asked_gb": node.mem_gb,
                "asked_cpus": node.n_procs or 1,
                "peak_gb": round(runtime.peak_gb, 3),
                "seconds": round(float(runtime.duration), 1),
                "cpu_seconds": round(runtime.cpu_seconds, 1),
            }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(used, indent=2) + "\n", encoding="utf-8")


def _written(nodes: Iterable[Any]) -> dict[str, list[str]]:
    """Gather the ``written`` output of all nodes that have one and were run, by subject."""
    files: dict[str, list[str]] = {}
    for node in nodes:
        if "written" in node.outputs.copyable_trait_names():
            subject = _SUBJECT.search(node.fullname)
            with contextlib.suppress(FileNotFoundError):  # not run, since one before it failed
                files.setdefault(subject[1] if subject else "", []).extend(node.result.outputs.written)
    return files


def read_crashes(folder: Path) -> list[Crash]:
    """Read nipype's text crash files, oldest first."""
    files = sorted(folder.glob("crash-*.txt"), key=lambda path: path.stat().st_mtime_ns)
    return [_read_crash(path.read_text(errors="replace")) for path in files]


def _read_crash(text: str) -> Crash:
    match = re.search(r"^Node: (\S+)", text, re.MULTILINE)
    node = match[1] if match else "unknown"
    subject = _SUBJECT.search(node)
    return Crash(subject[1] if subject else "", node, error_from_traceback(text, node))


def error_from_traceback(text: str, node: str) -> errors.MigxaiError:
    """Rebuild the error that a node raised from the traceback nipype kept of it.

    nipype wraps what an interface raises, and sends it through text files and other machines; the class and its
    sentence survive as text only.
    """
    matches = _ERROR_LINE.findall(text)
    if matches:
        name, message = matches[-1]
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.MigxaiError):
            return kind(" ".join(message.split()))
    if re.search(r"^\s*[\w.]*MemoryError\b|Unable to allocate", text, re.MULTILINE):
        return ResourceError(f"Memory ran out in {node}; give more memory, or fewer processes at once.")
    if "No space left on device" in text:
        return ResourceError(f"The disk is full ({node}); free space in the work and output directories.")
    # What nipype adds when a node left no result is no reason.
    text = re.split(r"\n\s*(?:When creating this crashfile|During the creation of this crashfile)", text)[0]
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return errors.MigxaiError(f"Internal error in {node}: {lines[-1].strip() if lines else 'no traceback was left'}")


def read_plugin(setting: Path | str) -> dict[str, Any]:
    """Read which nipype plugin is to run the steps, from ``"slurm"`` or a nipype plugin file (YAML).

    Returns ``plugin`` (str) and ``plugin_args`` (dict, maybe empty). Raises `UsageError` if the file is no YAML or not
    of that form, or nipype has no such plugin.
    """
    if not isinstance(setting, Path):
        return {"plugin": "SLURM", "plugin_args": {}}
    content = _load(setting)
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise UsageError(f"The plugin file {setting} names no plugin; {_FORM}.")
    arguments = content.get("plugin_args") or {}
    unknown = sorted(set(map(str, content)) - {"plugin", "plugin_args"})
    if unknown or not isinstance(arguments, dict):
        what = ", ".join(unknown) or "plugin_args"
        raise UsageError(f"The plugin file {setting} has unknown content ({what}); {_FORM}.")
    _check_name(content["plugin"], setting)
    return {"plugin": content["plugin"], "plugin_args": arguments}


def _load(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"The plugin file {file} is not valid YAML: {' '.join(str(error).split())}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The plugin file {file} can't be read: {error}.") from error


def _check_name(name: str, file: Path) -> None:
    from nipype.pipeline import plugins

    known = sorted(item.removesuffix("Plugin") for item in dir(plugins) if item.endswith("Plugin"))
    usable = [item for item in known if item not in _NO_ANSWER]
    if name in _NO_ANSWER:
        raise UsageError(
            f"The plugin {name} of {file} returns as soon as its jobs are submitted, so nobody would gather what they "
            f"did; use {name.removesuffix('Graph') if name.endswith('Graph') else 'another'}."
        )
    if name not in known:
        raise UsageError(f"nipype has no plugin {name!r} (in {file}); it has {', '.join(usable)}.")
