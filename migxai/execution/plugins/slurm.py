"""nipype's SLURM plugin, made to ask for what each step needs, and to say what became of a job that was killed."""

from __future__ import annotations

import math
import os
import pwd
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.slurm import SLURMPlugin

from migxai.data import packaged
from migxai.errors import ResourceError, UsageError
from migxai.execution.environment import explain

#: Memory asked for beyond what a step was measured to need, and the step in which it is rounded up (MB).
MARGIN, ROUND_MB = 1.25, 100
#: Seconds between two questions to the scheduler, which serves many.
POLL = 2.0
#: Seconds in which an ended job's result has to become visible, on a slow network drive too.
VISIBLE = 30
#: Seconds in which cancelled jobs have to be gone.
GONE = 60.0
_SCRIPT = re.compile(r"batchscript_pyscript_\d{8}_\d{6}_(.+)\.sh$")

_MEMORY = re.compile(r"--mem(-per-cpu)?\b")
_OUTPUT = re.compile(r"(?<!\S)(-o\b|--output\b)")
#: What SLURM says when it has too much to do.
_BUSY = ("Socket timed out", "not available at the moment", "Unable to contact", "temporarily")
_CPUS = re.compile(r"(?<!\S)(-c\b|--cpus-per-task\b)")


class SlurmPlugin(SLURMPlugin):
    """Runs each step of a workflow as a job, and waits for all of them.

    Arguments are nipype's: ``sbatch_args`` (partition, account, time limit), ``template``, ``max_jobs``. Memory and
    CPUs of each step are asked for unless ``sbatch_args`` do. Raises `UsageError` if there is no ``sbatch`` here, or
    SLURM would not know this user.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        _check_here()
        # Programs that a job runs may ask for it, and a process that no login shell has started lacks it.
        os.environ.setdefault("LOGNAME", pwd.getpwuid(os.getuid()).pw_name)
        arguments = {"template": str(packaged("cluster", "slurm.sh")), "sbatch_args": ""} | (plugin_args or {})
        super().__init__(plugin_args=arguments)
        self._queue: dict[int, str] = {}
        self._asked = -math.inf

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the workflow; whatever ends this, none of its jobs goes on."""
        names = {f"{node._hierarchy}_{node._id}" for node in graph.nodes()}
        base = next((Path(node.base_dir) for node in graph.nodes()), Path())
        cancel(_jobs_of(names, base))
        try:
            super().run(graph, config, updatehash)
        except BaseException:
            cancel(list(self._pending))
            raise

    def _submit_batchtask(self, scriptfile: str, node: Any) -> int:
        given = self._sbatch_args or ""
        name = ".".join(reversed([*(node._hierarchy or "").split("."), node._id])).strip(".")
        command = ["sbatch", "--parsable", *shlex.split(given), f"--job-name={name}"]
        command += [] if _MEMORY.search(given) else [f"--mem={memory_mb(node.mem_gb)}M"]
        command += [] if _CPUS.search(given) else [f"--cpus-per-task={node.n_procs or 1}"]
        output = [f"--output={Path(scriptfile).parent / 'slurm-%j.out'}"] if not _OUTPUT.search(given) else []
        job = submit([*command, *output, scriptfile], tries=self._max_tries, wait=self._retry_timeout)
        self._pending[job], self._queue[job] = node.output_dir(), "PENDING"
        return job

    def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> Any:
        if result is not None and isinstance(result["traceback"], str):
            # nipype adds lines to what it takes for a list of them.
            result = result | {"traceback": result["traceback"].splitlines(keepends=True)}
        return super()._report_crash(node, result)

    def _is_pending(self, taskid: int) -> bool:
        if time.monotonic() - self._asked >= POLL:
            listed = queue()
            if listed is not None:  # else the scheduler is busy, and is asked again
                self._queue = listed
            self._asked = time.monotonic()
        return taskid in self._queue

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        result: dict[str, Any] | None = super()._get_result(taskid)
        if result is None or "results file does not exist" not in "".join(result["traceback"] or ""):
            return result
        output = Path(self._pending[taskid])
        sentence = ResourceError(
            f"{explain(f'SLURM {taskid}')} at the step {output.name}; what was complete is kept, and the same command "
            "goes on from there."
        )
        # Lines as those of a traceback, which nipype joins as they are.
        lines = [f"migxai.errors.ResourceError: {sentence}\n", "\n"]
        return result | {"traceback": lines}


def submit(command: Sequence[str], *, tries: int, wait: float) -> int:
    """Submit a job and return its number; a scheduler that gives no answer is asked again.

    Raises `UsageError` if it refuses the job.
    """
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return int(done.stdout.strip().splitlines()[-1].partition(";")[0])
        said = " ".join(done.stderr.removeprefix("sbatch: error: ").split())
        tries -= 1
        if tries < 0 or not any(sign in said for sign in _BUSY):
            raise UsageError(f"SLURM refuses a job: {said} Say what it wants in sbatch_args of a plugin file.")
        time.sleep(wait)


def memory_mb(gigabytes: float) -> int:
    """Return the memory to ask for, in MB, for a step that was measured to need so many GB."""
    return math.ceil(gigabytes * 1000 * MARGIN / ROUND_MB) * ROUND_MB


def queue() -> dict[int, str] | None:
    """Return this user's jobs that have not ended, with the script of each; None if SLURM gives no answer."""
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format", "%A %o"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return None
    if listed.returncode:
        return None
    rows = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return {int(row[0]): row[1] if len(row) > 1 else "" for row in rows if row}


def _jobs_of(names: set[str], base: Path) -> list[int]:
    """Find jobs for the same steps that an earlier run left behind when it was killed."""
    found = []
    for job, script in (queue() or {}).items():
        match = _SCRIPT.search(script)
        if match and match[1] in names and Path(script).is_relative_to(base):
            found.append(job)
    return found


def cancel(jobs: list[int]) -> None:
    """Cancel jobs, and wait until they are gone."""
    if not jobs:
        return
    subprocess.run(["scancel", *map(str, jobs)], capture_output=True, timeout=60, check=False)
    deadline = time.monotonic() + GONE
    while time.monotonic() < deadline and not set(jobs).isdisjoint(queue() or ()):
        time.sleep(POLL / 4)


def _check_here() -> None:
    for program in ("sbatch", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UsageError(
                f"The SLURM plugin needs the program {program}, which is not on this machine (nor in a container): "
                "start migxai on a login node, or run an array of jobs instead (--write-sbatch writes its script)."
            )
    try:
        pwd.getpwuid(os.getuid())
    except KeyError as error:
        raise UsageError(
            f"The user {os.getuid()} has no entry in the machine's list of users (passwd), and SLURM never starts the "
            "jobs of such a user; start migxai as a user who has one."
        ) from error
