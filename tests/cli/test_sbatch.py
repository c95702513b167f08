from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from migxai.cli.parser import parse
from migxai.cli.sbatch import binds, given_words, sbatch_script
from migxai.errors import InputError, UsageError


@pytest.fixture
def study(dataset):
    """Three people with readable images, one of them twice as long; returns the dataset."""
    root = dataset("01", "02", "03")
    for label, volumes in (("01", 100), ("02", 200), ("03", 100)):
        image = nib.Nifti1Image(np.zeros((80, 80, 35, volumes), np.int8), np.eye(4))
        image.to_filename(root / f"sub-{label}" / "func" / f"sub-{label}_task-rest_bold.nii.gz")
    return root


@pytest.fixture
def script(study, tmp_path):
    """Write the script for the study; returns its text, which bash finds well-formed."""

    def make(*options, environment=None):
        argv = [str(study), str(tmp_path / "out put"), "participant", "--write-sbatch", *map(str, options)]
        request = parse(argv)
        text = sbatch_script(
            request.config, ("01", "02", "03"), argv, group=request.sbatch_group, environment=environment or {}
        )
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        return text

    return make


def directives(text):
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))


def run_with(text, tmp_path, *arguments, **environment):
    """Run a script with programs in place of migxai, apptainer and sbatch, that say what they were called with."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("migxai", "apptainer", "sbatch"):
        (programs / name).write_text(f'#!/bin/bash\nprintf "%q " {name} "$@" >&2; echo >&2; echo "77;cluster"\n')
        (programs / name).chmod(0o755)
    file = tmp_path / "file.sh"
    file.write_text(text.replace(f"{shlex.quote(sys.executable)} -m migxai", str(programs / "migxai")))
    done = subprocess.run(
        ["bash", str(file), *arguments],
        env={"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, [shlex.split(line) for line in done.stderr.splitlines()], done.stdout


TASK = {"SLURM_JOB_ID": "78", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "2"}


def test_one_task_a_participant_with_room_for_the_largest(script):
    found = directives(script())
    assert found["array"] == "1-3"
    assert found["cpus-per-task"] == "2"
    # 2.4 GB were measured for such data; the longest of them takes 120 s.
    assert 2.4 * 1.1 <= int(found["mem"].removesuffix("M")) / 1000 <= 2.4 * 2
    assert found["time"] == "00:15:00"


def test_one_cpu_takes_longer(script):
    found = directives(script("--nprocs", "1"))
    assert (found["cpus-per-task"], found["time"]) == ("1", "00:20:00")


def test_a_task_runs_its_part(script, tmp_path, study):
    text = script("--fwhm", 5, "--slice-range", -40, 70, "--no-gsr", "-vv")
    code, [called], _ = run_with(text, tmp_path, **TASK, SLURM_CPUS_PER_TASK="3", SLURM_MEM_PER_NODE="2900")
    assert code == 0
    assert called[1:4] == [str(study), str(tmp_path / "out put"), "participant"]
    assert called[called.index("--array-index") + 1] == "2/3"
    assert called[called.index("--nprocs") + 1 :] == ["3", "--mem-mb", "2900"]
    request = parse(called[1:])
    assert request.config.denoising.fwhm == 5
    assert request.config.learning.slice_range == (-40, 70)
    assert request.config.run.verbose == 2
    assert request.action == "run"
    assert (tmp_path / "out put").is_dir()


def test_a_task_in_a_container_sees_the_data_under_their_own_names(script, tmp_path, study):
    code, [called], _ = run_with(script(), tmp_path, **TASK, MIGXAI_SIF="/images/migxai.sif")
    assert code == 0
    assert called[:5] == ["apptainer", "run", "--containall", "--no-home", "--cleanenv"]
    bound = [called[place + 1] for place, word in enumerate(called) if word == "--bind"]
    out = tmp_path / "out put"
    assert bound == [f"{study}:{study}:ro", f"{out}:{out}:rw"]
    assert "SLURM_JOB_ID=78,SLURM_ARRAY_JOB_ID=77,SLURM_ARRAY_TASK_ID=2" in called
    image = called.index("/images/migxai.sif")
    assert called[image + 1] == str(study)
    assert not list(tmp_path.glob("migxai.*")), "its scratch directory is removed"


def test_inside_a_container_the_image_is_known(script):
    assert '"${MIGXAI_SIF:-/images/a.sif}"' in script(environment={"APPTAINER_CONTAINER": "/images/a.sif"})


def test_on_a_login_node_it_submits_itself(script, tmp_path):
    _, [array], said = run_with(script(), tmp_path)
    assert array == ["sbatch", "--parsable", str(tmp_path / "file.sh")]
    assert said == "Submitted the array 77, 3 tasks\n"
    _, [array, group], said = run_with(script("--sbatch-group"), tmp_path)
    assert "--dependency=afterany:77" in group
    assert group[-1] == f"bash '{tmp_path / 'file.sh'}' group"
    assert "group level 77" in said


def test_the_group_job_says_who_is_missing_and_runs(script, tmp_path):
    code, calls, _ = run_with(script("--sbatch-group", "--models", "svm"), tmp_path, "group", SLURM_JOB_ID="80")
    assert code == 0
    status, group = (parse(call[1:]) for call in calls)
    assert (status.level, status.action) == ("participant", "status")
    assert (group.level, group.action, group.config.learning.models) == ("group", "run", ("svm",))


def test_without_an_array_a_task_refuses(script, tmp_path):
    code, _, _ = run_with(script(), tmp_path, SLURM_JOB_ID="80")
    assert code != 0


def test_paths_are_named_from_the_root(tmp_path, monkeypatch, study):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filter.json").write_text("{}")
    (tmp_path / "net.pt").touch()
    words = given_words(
        ["bids", "out", "participant", "-d", "prep", "x=other", "--weights", "net.pt", "--bids-filter-file",
         "filter.json", "--motion-terms", "24", "-w", "work", "--write-sbatch", "--nprocs", "4"]
    )  # fmt: skip
    here = Path.cwd()
    assert words[words.index("-d") + 1 : words.index("-d") + 3] == [f"prep={here}/prep", f"x={here}/other"]
    assert words[words.index("--weights") + 1] == f"{here}/net.pt"
    assert words[words.index("--bids-filter-file") + 1] == f"{here}/filter.json"
    assert words[words.index("-w") + 1] == f"{here}/work"
    assert "--nprocs" not in words
    config = parse([str(study), "out", "participant", *words]).config
    assert f"{here}/net.pt:{here}/net.pt:ro" in binds(config, words)
    assert f"{here}/work:{here}/work:rw" in binds(config, words)


def test_an_output_inside_the_dataset_is_bound_after_it(study, tmp_path):
    config = parse([str(study), str(study / "derivatives" / "migxai"), "participant"]).config
    assert [item.rsplit(":", 1)[1] for item in binds(config, [])] == ["ro", "rw"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["participant", "--sbatch-group"], "give both"),
        (["participant", "--write-sbatch", "--array-index", "1/2"], "leave out --array-index"),
        (["participant", "--write-sbatch", "--status"], "exclude each other"),
        (["group", "--write-sbatch"], "belong to the participant level"),
        (["group", "--status", "--predict", "m.safetensors"], "leave one out"),
    ],
)
def test_what_does_not_go_together(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(["bids", "out", *options])


def test_images_that_cannot_be_read_are_a_sentence(dataset, tmp_path):
    argv = [str(dataset("01")), str(tmp_path / "out"), "participant", "--write-sbatch"]
    with pytest.raises(InputError, match="can't be estimated"):
        sbatch_script(parse(argv).config, ("01",), argv, group=False)


def test_the_command_prints_it(run, study, tmp_path):
    code, out, err = run(study, tmp_path / "out", "participant", "--write-sbatch")
    assert (code, err) == (0, "")
    assert out.startswith("#!/bin/bash\n#SBATCH")
    assert not (tmp_path / "out").exists()
