from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from nipype.interfaces import utility as niu
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine as pe

from migxai import errors
from migxai.errors import InputError, ResourceError, UsageError
from migxai.execution.plugins.workflows import PoolPlugin, error_from_traceback, execute, read_plugin

pytestmark = pytest.mark.timeout(120)


class _In(BaseInterfaceInputSpec):
    label = traits.Str()
    fail = traits.Bool()


class _Out(TraitedSpec):
    written = traits.List(traits.Str())


class Write(SimpleInterface):
    input_spec = _In
    output_spec = _Out

    def _run_interface(self, runtime):
        if self.inputs.fail:
            raise errors.ImageError("sub-02_bold.nii.gz is cut short and cannot be read;\ncopy it again.")
        self._results["written"] = [f"sub-{self.inputs.label}/file"]
        return runtime


def workflow(folder: Path, fails: dict[str, bool]) -> pe.Workflow:
    whole = pe.Workflow(name="migxai_wf", base_dir=str(folder))
    for label, fail in fails.items():
        part = pe.Workflow(name=f"sub_{label}_wf")
        part.add_nodes([pe.Node(Write(label=label, fail=fail), name="write")])
        whole.add_nodes([part])
    return whole


def test_all_that_was_written_is_known_by_subject(tmp_path):
    done = execute(workflow(tmp_path, {"01": False, "02": False}))
    assert done.crashes == []
    assert done.written("01") == ["sub-01/file"]
    assert done.written("02") == ["sub-02/file"]


def test_one_failure_is_a_sentence_and_stops_nobody_else(tmp_path):
    steps = []
    done = execute(workflow(tmp_path, {"01": False, "02": True, "03": False}), report=lambda *news: steps.append(news))
    (crash,) = done.crashes
    assert (crash.subject, type(crash.error)) == ("02", errors.ImageError)
    assert str(crash.error) == "sub-02_bold.nii.gz is cut short and cannot be read; copy it again."
    assert ("migxai_wf.sub_03_wf.write", "end") in steps
    again = execute(workflow(tmp_path, {"01": False, "02": False, "03": False}))
    assert again.crashes == [], "crashes of an earlier run are not this run's"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Traceback\nMemoryError: Unable to allocate 3 GiB", errors.ResourceError),
        ("Traceback\nOSError: [Errno 28] No space left on device", errors.ResourceError),
        ("Traceback\nZeroDivisionError: division by zero", errors.MigxaiError),
        ("Traceback\nmigxai.errors.TimingError: TR is absent.", errors.TimingError),
    ],
)
def test_other_tracebacks_keep_their_meaning(text, kind):
    assert type(error_from_traceback(text, "node")) is kind


def test_plugin_files(tmp_path):
    file = tmp_path / "plugin.yml"
    file.write_text("plugin: SLURM\nplugin_args: {sbatch_args: '--mem=8G'}\n")
    assert read_plugin(file) == {"plugin": "SLURM", "plugin_args": {"sbatch_args": "--mem=8G"}}
    file.write_text("plugin: Linear\n")
    assert read_plugin(file) == {"plugin": "Linear", "plugin_args": {}}


def test_the_packaged_plugin_has_a_name():
    assert read_plugin("slurm") == {"plugin": "SLURM", "plugin_args": {}}


@pytest.mark.parametrize(
    "text", ["plugin: [", "- a", "", "plugin_args: {}", "plugin: Linear\nextra: 1", "plugin: Linear\nplugin_args: 3"]
)
def test_malformed_plugin_files(tmp_path, text):
    file = tmp_path / "plugin.yml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"plugin\.yml"):
        read_plugin(file)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("Slrum", "no plugin 'Slrum'.* it has .*SLURM"), ("SLURMGraph", "returns as soon as .*; use SLURM")],
)
def test_plugins_that_do_not_exist_or_do_not_wait(tmp_path, name, sentence):
    file = tmp_path / "plugin.yml"
    file.write_text(f"plugin: {name}\n")
    with pytest.raises(UsageError, match=sentence):
        read_plugin(file)


# Nodes in real processes, some of which are killed.


def double(value):
    return 2 * value


def die(value):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return value


def refuse(value):
    from migxai.errors import InputError

    raise InputError(f"{value} is no good;\nmake it anew.")


def functions_workflow(folder, **functions):
    whole = pe.Workflow(name="pool_wf", base_dir=str(folder))
    for name, function in functions.items():
        interface = niu.Function(input_names=["value"], output_names=["out"], function=function)
        interface.inputs.value = 3
        whole.add_nodes([pe.Node(interface, name=name)])
    return whole


def chained(folder, first, second):
    whole = functions_workflow(folder, first=first, second=second)
    whole.connect(whole.get_node("first"), "out", whole.get_node("second"), "value")
    return whole


def run(whole, processes=1):
    told = []
    plugin = PoolPlugin(processes, 4.0, report=lambda node, status: told.append((node.name, status)))
    return execute(whole, plugin=plugin), told


def test_good_nodes_end_and_one_bad_one_keeps_its_sentence(tmp_path, capfd):
    done, told = run(functions_workflow(tmp_path, good=double, bad=refuse, other=double), processes=2)
    (crash,) = done.crashes
    assert (crash.node, type(crash.error)) == ("pool_wf.bad", InputError)
    assert str(crash.error) == "3 is no good; make it anew."
    assert {name for name, status in told if status == "end"} == {"good", "other"}
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err, "nipype's own narration is not the user's to read"


def test_a_killed_worker_is_a_failure_with_a_sentence_and_never_a_hang(tmp_path):
    done, _ = run(chained(tmp_path, die, double))
    assert {crash.node for crash in done.crashes} == {"pool_wf.first"}
    assert isinstance(done.crashes[0].error, ResourceError)
    assert str(done.crashes[0].error).startswith("A worker process was killed, most likely for memory;")
    assert str(done.crashes[0].error).endswith("the same command goes on from there.")


def test_nodes_whose_turn_had_not_come_when_a_worker_died_fail_too(tmp_path):
    done, told = run(functions_workflow(tmp_path, one=die, two=double, three=double))
    failed = {crash.node.removeprefix("pool_wf.") for crash in done.crashes}
    ended = {name for name, status in told if status == "end"}
    assert "one" in failed
    assert failed | ended == {"one", "two", "three"}
    assert not failed & ended
    assert all(isinstance(crash.error, ResourceError) for crash in done.crashes)


def test_after_a_worker_died_a_new_pool_works_through_the_rest(tmp_path):
    assert run(chained(tmp_path, die, double))[0].crashes
    done, told = run(chained(tmp_path, double, double))
    assert not done.crashes
    assert {name for name, status in told if status == "end"} == {"first", "second"}


PARENT = """
import os, time
from multiprocessing import get_context
from concurrent.futures import ProcessPoolExecutor
from migxai.execution.plugins.workflows import prepare_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=prepare_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600)
    time.sleep(600)
"""


def test_workers_heed_no_ctrl_c_and_end_with_whoever_started_them(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    paths = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))  # noqa: PTH109
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        worker = psutil.Process(int(parent.stdout.readline()))
        worker.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert worker.is_running()
        parent.kill()
        parent.wait()
        psutil.wait_procs([worker], timeout=20)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.stdout.close()
