from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import sys
import threading
import time
from pathlib import Path

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from migxai.errors import ResourceError, UsageError
from migxai.execution.environment import UNKNOWN, explain
from migxai.execution.plugins import slurm
from migxai.execution.plugins.slurm import SlurmPlugin, cancel, memory_mb, queue
from migxai.execution.plugins.workflows import execute

FAKE = Path(__file__).with_name("fake_slurm.py")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Put the programs of a fake cluster in front of everything; yields the folder with what it was asked."""
    programs, state = tmp_path / "bin", tmp_path / "state"
    programs.mkdir()
    state.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        file = programs / name
        file.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setattr(slurm, "POLL", 0.2)
    monkeypatch.setattr(slurm, "VISIBLE", 1)
    return state


def add(a, b):
    return a + b


def write(content):
    return [content + ".nii"]


def wait():
    import time

    time.sleep(600)


def workflow(base, *names, function=add):
    """Nodes one after the other, each adding 1."""
    whole = pe.Workflow(name="toy_wf", base_dir=str(base))
    before = None
    for name in names:
        outputs = ["sum"] if function is add else []
        interface = Function(input_names=["a", "b"] if outputs else [], output_names=outputs, function=function)
        node = pe.Node(interface, name=name, mem_gb=0.3, n_procs=2)
        if outputs:
            node.inputs.a, node.inputs.b = 1, 1
        whole.add_nodes([node])
        if before is not None:
            whole.connect(before, "sum", node, "a")
        before = node
    return whole


def asked(state, number):
    return json.loads((state / f"{number}.json").read_text())["arguments"]


def test_steps_are_jobs_that_ask_for_what_they_need(cluster, tmp_path, monkeypatch):
    monkeypatch.delenv("LOGNAME", raising=False)
    told = []
    done = execute(
        workflow(tmp_path, "first", "second"), plugin="SLURM", report=lambda name, status: told.append((name, status))
    )
    assert done.crashes == []
    assert ("toy_wf.second", "end") in told
    assert {"--mem=400M", "--cpus-per-task=2"} < set(asked(cluster, 1))
    assert len(list(cluster.glob("*.json"))) == 2
    script = Path(asked(cluster, 2)[-1]).read_text()
    assert 'OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"' in script


def test_what_the_user_asks_for_takes_precedence(cluster, tmp_path):
    execute(workflow(tmp_path, "first"), plugin="SLURM", plugin_args={"sbatch_args": "-p long --mem=8G -c 4"})
    arguments = asked(cluster, 1)
    assert arguments[:6] == ["--parsable", "-p", "long", "--mem=8G", "-c", "4"]
    assert not [item for item in arguments if item.startswith(("--mem=4", "--cpus"))]


def test_a_job_that_the_scheduler_refuses_is_a_sentence(cluster, tmp_path):
    with pytest.raises(UsageError, match="SLURM refuses a job: invalid partition specified: nowhere"):
        execute(workflow(tmp_path, "first"), plugin="SLURM", plugin_args={"sbatch_args": "--partition=nowhere"})


def test_a_busy_scheduler_is_asked_again(tmp_path):
    file, asked = tmp_path / "sbatch", tmp_path / "sbatch.asked"
    busy = 'touch "$0.asked"; echo "Socket timed out" >&2; exit 1'
    file.write_text(f'#!/bin/bash\n[ -e "$0.asked" ] && echo 7 && exit\n{busy}\n')
    file.chmod(0o755)
    assert slurm.submit([str(file)], tries=1, wait=0) == 7
    asked.unlink()
    with pytest.raises(UsageError, match="Socket timed out"):
        slurm.submit([str(file)], tries=0, wait=0)


def test_a_killed_job_is_named_with_what_the_scheduler_says(cluster, tmp_path):
    [crash] = execute(workflow(tmp_path, "first", "killme", "third"), plugin="SLURM").crashes
    assert crash.node == "toy_wf.killme"
    assert isinstance(crash.error, ResourceError)
    assert str(crash.error).startswith("SLURM job 2 ran out of memory; scontrol shows OUT_OF_MEMORY, ExitCode 0:9 at")


def test_a_step_that_fails_says_why(cluster, tmp_path):
    toy = workflow(tmp_path, "first")
    toy.get_node("first").inputs.b = "x"
    [crash] = execute(toy, plugin="SLURM").crashes
    assert "TypeError" in str(crash.error)


def test_what_one_subject_wrote_is_known_although_another_failed(cluster, tmp_path):
    whole = pe.Workflow(name="toy_wf", base_dir=str(tmp_path))
    for label, content in (("01", "x"), ("02", 0)):
        interface = Function(input_names=["content"], output_names=["written"], function=write)
        node = pe.Node(interface, name="write")
        node.inputs.content = content
        subject = pe.Workflow(name=f"sub_{label}_wf")
        subject.add_nodes([node])
        whole.add_nodes([subject])
    done = execute(whole, plugin="SLURM")
    assert [crash.subject for crash in done.crashes] == ["02"]
    assert done.written("01") == ["x.nii"]
    assert done.written("02") == []


def test_whatever_ends_the_run_ends_its_jobs(cluster, tmp_path, monkeypatch):
    def interrupt(self, taskid):
        if queue():
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(SlurmPlugin, "_is_pending", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(workflow(tmp_path, "first", function=wait), plugin="SLURM")
    assert queue() == {}
    assert (cluster / "1.cancelled").exists()


def test_jobs_of_a_run_that_was_killed_are_ended_by_the_next(cluster, tmp_path):
    def start():
        SlurmPlugin()._submit_job(node)

    toy = workflow(tmp_path, "first", function=wait)
    toy._create_flat_graph()
    [node] = toy._get_all_nodes()
    node._hierarchy = "toy_wf"
    node.base_dir = str(tmp_path)
    node.config = {"execution": {"matplotlib_backend": "Agg"}}
    start()
    assert list(queue()) == [1]

    def end_the_second():
        while not (cluster / "2.json").exists():
            time.sleep(0.05)
        cancel([2])

    threading.Thread(target=end_the_second, daemon=True).start()
    assert execute(workflow(tmp_path, "first", function=wait), plugin="SLURM").crashes
    assert (cluster / "1.cancelled").exists()


def test_a_scheduler_that_gives_no_answer_is_asked_again(cluster, monkeypatch):
    plugin = SlurmPlugin()
    plugin._queue = {7: "script"}
    monkeypatch.setattr(slurm, "queue", lambda: None)
    assert plugin._is_pending(7)
    monkeypatch.setattr(slurm, "queue", dict)
    time.sleep(slurm.POLL)
    assert not plugin._is_pending(7)


def test_no_sbatch_is_a_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(UsageError, match=r"needs the program sbatch.*--write-sbatch"):
        SlurmPlugin()


def test_a_user_whom_slurm_does_not_know_is_a_sentence(cluster, monkeypatch):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(UsageError, match="no entry"):
        SlurmPlugin()


@pytest.mark.parametrize(("need", "asked_for"), [(0.3, 400), (1.0, 1300), (2.0, 2500)])
def test_memory_is_asked_for_with_a_margin(need, asked_for):
    assert memory_mb(need) == asked_for


def test_what_nobody_knows_is_said_so(cluster):
    assert explain("") == UNKNOWN
    assert explain("PBS 7.head") == f"{UNKNOWN} (PBS job 7.head)"
    assert explain("SLURM 99") == f"{UNKNOWN} (SLURM job 99, of which scontrol knows nothing any more)"
