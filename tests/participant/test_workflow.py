from __future__ import annotations

import json

import pytest
from nipype.pipeline import engine as pe

from migxai.config import Config, Run, Selection
from migxai.execution.plugins.engine import execute
from migxai.participant.interfaces.base import Step, inputs, outputs
from migxai.participant.workflow import for_steps


class Fill(Step):
    """Holds so much memory for a moment."""

    input_spec, output_spec = inputs(megabytes="value"), outputs(length="value")

    def make(self, folder):
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
