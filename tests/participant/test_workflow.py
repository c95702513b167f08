from __future__ import annotations

import dataclasses
import json

import pytest
from nipype.interfaces.base import isdefined
from nipype.pipeline import engine as pe

from migxai.bids.fmriprep import FmriprepRun
from migxai.bids.inputs import RawRun, Subject
from migxai.config import Config, Run, Selection
from migxai.execution.plugins.workflows import execute
from migxai.participant.interfaces.base import Step, inputs, outputs
from migxai.participant.workflow import for_steps, init_participant_wf


class Fill(Step):
    """Holds so much memory for a moment."""

    input_spec, output_spec = inputs(megabytes="value"), outputs(length="value")

    def _make(self, folder):
        return {"length": len(b"1" * (self.inputs.megabytes * 10**6))}


def test_what_a_step_used_is_written(tmp_path):
    whole = pe.Workflow(name="toy_wf", base_dir=str(tmp_path))
    whole.add_nodes([pe.Node(Fill(megabytes=100), name="fill", mem_gb=0.4, n_procs=2)])
    execute(whole, used_file=tmp_path / "logs" / "toy_steps.json")
    used = json.loads((tmp_path / "logs" / "toy_steps.json").read_text())["toy_wf.fill"]
    assert (used["asked_gb"], used["asked_cpus"]) == (0.4, 2)
    assert 0.1 < used["peak_gb"] < 20
    assert used["seconds"] >= 0
    assert used["cpu_seconds"] >= 0


def test_steps_do_not_know_the_machine():
    config = Config(run=Run(nprocs=4, mem_gb=2.0, use_plugin="slurm"), selection=Selection(participant_label=("01",)))
    assert for_steps(config) == for_steps(Config())
    assert for_steps(config.replace("denoising", fwhm=5.0)) != for_steps(config)
    assert for_steps(config).resume_key() == config.resume_key()


@pytest.mark.parametrize("change", [{"nprocs": 1}, {"mem_gb": 64.0}, {"resource_monitor": True}])
def test_more_memory_does_not_make_a_killed_run_begin_anew(change):
    config = Config()
    assert for_steps(config.replace("run", **change)) == for_steps(config)


def steps_of(tmp_path, *runs, **preprocessing):
    """Names of the steps of one subject, each with the inputs that it must have and that nobody gives it."""
    config = Config(run=Run(output_dir=tmp_path / "out", work_dir=tmp_path / "work"))
    config = config.replace("preprocessing", **preprocessing)
    workflow = init_participant_wf(config, [Subject("01", runs)])
    graph = workflow._create_flat_graph()
    lacking = {}
    for node in graph.nodes():
        given = {pair[1] for *_, data in graph.in_edges(node, data=True) for pair in data["connect"]}
        traits = {} if "Merge" in type(node.interface).__name__ else node.inputs.traits(mandatory=True)
        absent = [name for name in traits if name not in given and not isdefined(getattr(node.inputs, name))]
        absent += [name for name in traits if name not in given and getattr(node.inputs, name) is None]
        lacking[node.fullname.removeprefix("migxai_wf.sub_01_wf.")] = absent
    return lacking


def raw_run(tmp_path, number, t1w="sub-01_T1w.nii.gz"):
    sources = (f"bids:raw:sub-01/func/run-{number}", f"bids:raw:sub-01/anat/{t1w}")
    entities = {"sub": "01", "task": "rest", "run": number}
    (tmp_path / "sub-01_T1w.nii.gz").touch()
    return RawRun(entities, tmp_path / "bold.nii", {}, tmp_path / t1w if t1w else None, sources)


def test_runs_share_a_t1w_and_are_averaged(tmp_path):
    steps = steps_of(tmp_path, raw_run(tmp_path, "1"), raw_run(tmp_path, "2"))
    assert not any(steps.values())
    assert [name for name in steps if name.endswith("extract_brain")] == ["anat_0_wf.extract_brain"]
    assert {"task_rest_run_1_wf.raw_wf.coregister", "task_rest_run_2_wf.raw_wf.coregister", "average_0"} <= set(steps)


def test_a_run_without_t1w(tmp_path):
    steps = steps_of(tmp_path, raw_run(tmp_path, "1"), anat="none")
    assert not any(steps.values())
    assert "task_rest_run_1_wf.raw_wf.normalise_epi" in steps
    assert "anat_0_wf.extract_brain" not in steps


def test_a_run_after_fmriprep(tmp_path):
    fields = {field.name: None for field in dataclasses.fields(FmriprepRun)}
    run = FmriprepRun(**fields | {"entities": {"sub": "01", "task": "rest"}, "bold": tmp_path / "bold.nii"})
    steps = steps_of(tmp_path, run)
    assert not any(steps.values())
    assert {"task_rest_wf.resample", "task_rest_wf.confounds", "task_rest_wf.draw"} <= set(steps)
    assert "average_0" not in steps
