"""Jobs as nipype runs them: in order, each in a process of its own, and with their errors as they were raised."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from migxai.config import Config, Learning, Run
from migxai.errors import AtlasError, ResourceError
from migxai.group.fit import list_experiments
from migxai.group.job import Job, Workspace, init_group_wf, run_jobs
from migxai.group.run import list_jobs
from tests.group.cohorts import configure, make_arrays, make_workspace, plan_comparison, sketch_plan

#: What jobs share that read nothing.
NOTHING = Workspace(Learning(), 0, {}, Path())


@dataclass(frozen=True, kw_only=True, eq=False)
class Note(Job):
    """Append its name to a file, or fail."""

    workspace: Workspace = NOTHING
    file: Path
    failure: str = ""

    def run(self) -> None:
        if self.failure == "atlas":
            raise AtlasError(f"The atlas\n  of {self.name} is odd.")
        if self.failure == "bug":
            raise ValueError("a bug")
        if self.failure == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        with self.file.open("a") as stream:
            stream.write(f"{self.name}\n")


@pytest.fixture
def run(tmp_path):
    """Run jobs in this process, or in others; returns what failed and what was said."""
    linear = tmp_path / "linear.yml"
    linear.write_text("plugin: Linear\n")

    def call(*jobs, plugin=linear, **settings):
        said: list[str] = []
        config = Config(run=Run(output_dir=tmp_path, use_plugin=plugin, **settings))
        return run_jobs(jobs, config, tmp_path / "work", (1, 4.0), said.append), said

    return call


def notes(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []


def test_jobs_run_after_those_they_wait_for(run, tmp_path):
    file = tmp_path / "notes"
    jobs = [Note(name="last", waits_for=("b.c", "a"), file=file), Note(name="b.c", waits_for=("a",), file=file)]
    failed, said = run(*jobs, Note(name="a", file=file), resource_monitor=True)
    assert failed == []
    assert notes(file) == ["a", "b.c", "last"]
    assert said == ["a: done (1 of 3)", "b c: done (2 of 3)", "last: done (3 of 3)"]
    assert (tmp_path / ".work" / "logs" / "group_steps.json").is_file()


def test_errors_come_back_as_they_were_raised_and_only_what_waits_is_left_out(run, tmp_path):
    file = tmp_path / "notes"
    jobs = [
        Note(name="odd", file=file, failure="atlas"),
        Note(name="bug", file=file, failure="bug"),
        Note(name="after", waits_for=("odd",), file=file),
        Note(name="beside", file=file),
    ]
    failed, _ = run(*jobs)
    by_name = {job.name: job for job in failed}
    assert set(by_name) == {"odd", "bug"}
    assert type(by_name["odd"].error) is AtlasError
    assert str(by_name["odd"]) == "odd: The atlas of odd is odd."
    assert str(by_name["bug"].error).startswith("Internal error in group_wf.bug: ValueError: a bug")
    assert notes(file) == ["beside"]
    assert run(Note(name="odd", file=file))[0] == [], "an earlier error is none of this run"


def test_a_killed_process_is_a_failure_with_a_name(run, tmp_path):
    failed, _ = run(Note(name="killed", file=tmp_path / "notes", failure="killed"), plugin=None)
    assert [job.name for job in failed] == ["killed"]
    assert isinstance(failed[0].error, ResourceError)
    assert "A worker process was killed" in str(failed[0].error)


def test_names_of_nodes_are_what_nipype_allows_and_none_takes_its_own_word(tmp_path):
    jobs = [Note(name="timm:resnet10t.c3_in1k", file=tmp_path, memory_gb=2.5)]
    (node,) = init_group_wf(jobs, tmp_path)._get_all_nodes()
    assert (node.name, node.mem_gb, node.n_procs) == ("timm_resnet10t_c3_in1k", 2.5, 1)
    assert node.interface.always_run, "files say what is there already, not nipype"


def the_jobs(tmp_path, config, **plan):
    arrays = make_arrays(tmp_path / "arrays", people=40)
    sketch = sketch_plan(arrays, comparisons=(plan_comparison(),), **plan)
    experiments = list_experiments(sketch, config)
    return {job.name: job for job in list_jobs(sketch, config, experiments, make_workspace(arrays, config.learning))}


def test_networks_wait_for_their_features_and_other_models_share_a_job(tmp_path):
    jobs = the_jobs(tmp_path, configure(tmp_path, tmp_path, permutations=25))
    assert len(jobs["baselines"].experiments) == 2 * (3 + 2 + 2), "trials and the final model of the SVM, two baselines"
    for indicator in ("alff", "reho"):
        shards = tuple(f"features_googlenet_{indicator}_{number}" for number in (1, 2))
        assert [row for name in shards for row in jobs[name].rows] == list(range(40))
        series = f"hc_vs_migraine_{indicator}_googlenet"
        waiting = [
            f"{series}_{part}" for part in ("trial1", "trial2", "everybody", "permutations_0", "permutations_20")
        ]
        assert {jobs[name].waits_for for name in waiting} == {shards}
        assert jobs[waiting[-1]].numbers == range(20, 25)
        assert jobs[f"hc_vs_migraine_{indicator}_svm_permutations_0"].waits_for == ()
    assert not any("majority" in name or "nuisance" in name for name in jobs)
    assert all(name in jobs for job in jobs.values() for name in job.waits_for)


def test_maps_wait_for_their_folds_and_checks_for_the_maps_of_all_trials(tmp_path):
    config = configure(tmp_path, tmp_path).replace("explaining", cam=("attention", "layercam", "gradcam"))
    jobs = the_jobs(tmp_path, config)
    series = "hc_vs_migraine_reho_googlenet"
    for trial in (1, 2):
        assert jobs[f"{series}_trial{trial}_maps"].waits_for == (f"{series}_trial{trial}",)
        assert jobs[f"{series}_trial{trial}_maps"].methods == ("layercam", "gradcam")
    assert jobs[f"{series}_checks"].waits_for == (f"{series}_trial1_maps", f"{series}_trial2_maps")
    assert jobs[f"{series}_checks"].method == "layercam", "the first that fits"
    assert not any("svm" in name and "maps" in name for name in jobs)
    assert not any("maps" in name for name in the_jobs(tmp_path, config.replace("explaining", explain=False)))
    unchecked = the_jobs(tmp_path, config.replace("explaining", sanity_checks=False))
    assert not any(name.endswith("_checks") for name in unchecked)


def test_jobs_are_cheap_to_send_to_other_processes(tmp_path):
    jobs = the_jobs(tmp_path, configure(tmp_path, tmp_path, permutations=25))
    assert max(len(pickle.dumps(job)) for job in jobs.values()) < 50_000
