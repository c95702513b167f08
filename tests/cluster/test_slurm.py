"""A real SLURM: an array of jobs, steps through nipype's plugin, and what becomes of jobs that are killed.

One node will do. Minutes, most of them the participants' own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from migxai.demo.image_cohort import make_cohort
from migxai.demo.map_cohort import make_map_cohort
from migxai.demo.settings import SMALL
from migxai.execution.locks import LOCK_DIR, this_process
from migxai.execution.plugins.slurm import memory_mb

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="there is no SLURM (sbatch) on this machine"),
    pytest.mark.xdist_group("slurm"),
]

PEOPLE = ("01", "02", "03", "04")
PATIENCE = 2400
#: Coarse maps and few slices: a group level of a minute or two.
GROUP = (
    "--models", "svm", "resnet18", "--weights", "random", "--epochs", "1", "--slices", "2", "--augmentations", "0",
    "--trials", "1", "--folds", "2", "--bootstraps", "50", "--comparison", "hc_vs_migraine=HC:MWoA+MWA", "--no-explain",
)  # fmt: skip


def migxai(*arguments, cwd=None):
    """Run the command line; returns exit code, standard output and standard error."""
    command = [sys.executable, "-m", "migxai", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


def slurm(*command, cwd=None):
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60, check=True).stdout.strip()


def state(job):
    shown = slurm("scontrol", "--oneliner", "show", "job", str(job))
    return [line.partition("JobState=")[2].split()[0] for line in shown.splitlines()]


def wait_for(condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "patience has run out"
        time.sleep(1)


def ended(job):
    command = ["squeue", "--noheader", "--jobs", str(job), "--format", "%T"]
    # Of a job that it has forgotten it says that there is none.
    return not subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four people of the small demo, and a script for them."""
    root = tmp_path_factory.mktemp("slurm")
    for _ in make_cohort(root, SMALL, len(PEOPLE)):
        pass
    code, script, err = migxai(root / "raw", root / "out", "participant", "--write-sbatch", "--nprocs", "1")
    assert code == 0, err
    (root / "array.sbatch").write_text(script)
    return root


def status(study):
    code, table, _ = migxai(study / "raw", study / "out", "participant", "--status")
    rows = dict(line.split("\t", 1) for line in table.splitlines() if line.startswith("sub-"))
    return code, {name.removeprefix("sub-"): row for name, row in rows.items()}


def overdrawn(file):
    """Name the steps that used more memory than SLURM was asked for."""
    steps = json.loads(file.read_text())
    assert steps
    return {name: used for name, used in steps.items() if 1000 * used["peak_gb"] > memory_mb(used["asked_gb"])}


def test_killed_tasks_are_named_and_the_array_is_closed_by_starting_it_again(study):
    few = slurm("sbatch", "--parsable", "--array=3-4", str(study / "array.sbatch"), cwd=study)
    wait_for(lambda: "being" in status(study)[1]["03"] or status(study)[1]["03"].startswith("running"))
    slurm("scancel", f"{few}_3")
    slurm("scancel", f"{few}_4")
    wait_for(lambda: ended(few))
    # Less than the interpreter and its libraries need.
    starved = slurm("sbatch", "--parsable", "--array=4", "--mem=300M", str(study / "array.sbatch"), cwd=study)
    wait_for(lambda: ended(starved))
    code, rows = status(study)
    assert code == 1
    assert rows["01"].startswith("missing")
    assert rows["03"].startswith("failed")
    assert f"SLURM job {few}_3 was cancelled (scancel); scontrol shows CANCELLED" in rows["03"]
    assert f"SLURM job {starved}_4" in rows["04"]
    assert "killed" in rows["04"] or "ran out of memory" in rows["04"]

    array = slurm("bash", "array.sbatch", cwd=study).split()[3].rstrip(",")
    wait_for(lambda: ended(array))
    # It forgets tasks that ended some minutes ago.
    assert set(state(array)) == {"COMPLETED"}, "".join(log.read_text() for log in study.glob("*.log"))
    code, rows = status(study)
    assert code == 0
    assert set(rows) == set(PEOPLE)
    assert not (study / "out" / LOCK_DIR).exists()
    for label in PEOPLE:
        assert list((study / "out" / f"sub-{label}" / "func").glob("*stat-alff_boldmap.nii.gz"))


def test_one_call_writes_the_reports_anew_and_says_who_is_missing(study, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(study / "out", out)
    shutil.rmtree(out / "sub-02")
    (out / "logs" / "sub-02.json").unlink()
    code, table, _ = migxai(study / "raw", out, "participant", "--status")
    assert code == 1
    assert "sub-02\tmissing" in table
    code, _, said = migxai(study / "raw", out, "participant", "--reports-only")
    assert code == 1
    assert "sub-02: failed" in said
    assert "3 of 4 subjects complete" in said


def test_a_lost_node_blocks_nobody(study, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(study / "out", out)
    (out / LOCK_DIR).mkdir()
    lock = out / LOCK_DIR / "sub-01.lock"
    lost = dataclasses.replace(this_process(), boot="another", machine="node7", job="SLURM 999999_1", flocked=True)
    lock.write_text(json.dumps(dataclasses.asdict(lost)))
    os.utime(lock, (time.time() - 600,) * 2)
    (out / "logs" / "sub-01.json").unlink()
    code, table, _ = migxai(study / "raw", out, "participant", "--status", "--participant-label", "01")
    assert code == 1
    assert "killed by signal 9, cause unknown (SLURM job 999999_1, of which scontrol knows nothing any more)" in table
    assert "no sign of life from node7 for 6" in table
    code, _, said = migxai(study / "raw", out, "participant", "--participant-label", "01", "--nprocs", "2")
    assert code == 0, said
    assert "no sign of life" in said


def test_steps_of_a_subject_are_jobs(study, tmp_path):
    out = tmp_path / "out"
    arguments = (study / "raw", out, "participant", "--participant-label", "01", "--use-plugin", "slurm")
    arguments += ("--resource-monitor",)
    process = subprocess.Popen([sys.executable, "-m", "migxai", *map(str, arguments)])
    try:
        wait_for(lambda: "migxai_wf" in slurm("squeue", "--noheader", "--format", "%j %T", "--states", "R"))
        job = slurm("squeue", "--noheader", "--format", "%A", "--states", "R").splitlines()[0]
        assert "MinMemoryNode=" in slurm("scontrol", "show", "job", job)
        slurm("scancel", job)
        assert process.wait(PATIENCE) == 5
    finally:
        process.kill()
    code, table, _ = migxai(study / "raw", out, "participant", "--status", "--participant-label", "01")
    assert code == 1
    assert f"SLURM job {job} was cancelled (scancel); scontrol shows CANCELLED" in table
    code, _, said = migxai(*arguments)
    assert code == 0, said
    assert not slurm("squeue", "--noheader")
    assert overdrawn(out / ".work" / "logs" / "plugin_steps.json") == {}
    for file in sorted((study / "out" / "sub-01" / "func").glob("*_boldmap.nii.gz")):
        assert (out / "sub-01" / "func" / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_group_level_on_the_plugin(tmp_path):
    maps = make_map_cohort(tmp_path, subjects=12, seed=1, effect_size=2.0, effect_regions=("Cuneus",))
    code, _, said = migxai(maps, tmp_path / "out", "group", *GROUP, "--use-plugin", "slurm", "--resource-monitor")
    assert code == 0, said
    assert overdrawn(tmp_path / "out" / ".work" / "logs" / "group_steps.json") == {}
    code, _, said = migxai(maps, tmp_path / "here", "group", *GROUP, "--nprocs", "1")
    assert code == 0, said
    for name in ("predictions.tsv", "metrics.tsv"):
        assert (tmp_path / "out/group" / name).read_text() == (tmp_path / "here/group" / name).read_text()
    assert "complete" in Path(tmp_path / "out/group/description.json").read_text()


def test_a_user_sees_what_a_partition_refuses(study, tmp_path):
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: SLURM\nplugin_args: {sbatch_args: '--partition=nowhere'}\n")
    code, _, said = migxai(
        study / "raw", tmp_path / "out", "participant", "--participant-label", "01", "--use-plugin", plugin
    )
    assert code == 2
    assert "SLURM refuses a job: invalid partition specified: nowhere" in said
