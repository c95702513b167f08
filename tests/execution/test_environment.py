from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.config import Config
from migxai.errors import OutputError, UsageError
from migxai.execution import environment as module
from migxai.execution.environment import array_part, job_name


def tree(base, files):
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    return {"root": base / "cgroup", "proc": base / "proc"}


V2 = {"proc/self/cgroup": "0::/job/step\n"}
V1 = {"proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n"}
AFFINITY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (V2 | {"cgroup/job/step/cpu.max": "max 100000", "cgroup/job/cpu.max": "50000 100000"}, 1),
        (V2 | {"cgroup/cpu.max": "100000 100000"}, 1),
        (V2 | {"cgroup/job/step/cpu.max": "max 100000"}, AFFINITY),
        (V1 | {"cgroup/cpu/job/cpu.cfs_quota_us": "100000", "cgroup/cpu/job/cpu.cfs_period_us": "100000"}, 1),
        (V1 | {"cgroup/cpu/cpu.cfs_quota_us": "-1", "cgroup/cpu/cpu.cfs_period_us": "100000"}, AFFINITY),
        ({}, AFFINITY),
    ],
)
def test_cpus(tmp_path, files, expected):
    assert module.cpu_count(**tree(tmp_path, files)) == expected


HOST = module.memory_gb({}, root=module.PROC / "none", proc=module.PROC / "none")


@pytest.mark.parametrize(
    ("files", "environment", "expected"),
    [
        (V2 | {"cgroup/job/memory.max": "500000000", "cgroup/job/step/memory.max": "max"}, {}, 0.5),
        (V2 | {"cgroup/job/step/memory.high": "400000000"}, {}, 0.4),
        (V1 | {"cgroup/memory/job/memory.limit_in_bytes": "300000000"}, {}, 0.3),
        (V1 | {"cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, {}, HOST),
        ({}, {"SLURM_MEM_PER_NODE": "250"}, 0.25),
        ({}, {"SLURM_MEM_PER_NODE": "0"}, HOST),
        ({}, {"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "3"}, 0.3),
        (V2 | {"cgroup/job/memory.max": "200000000"}, {"SLURM_MEM_PER_NODE": "250"}, 0.2),
    ],
)
def test_memory(tmp_path, files, environment, expected):
    assert module.memory_gb(environment, **tree(tmp_path, files)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("run", "subjects", "expected"),
    [
        ({"nprocs": 8, "mem_gb": 64.0}, 1, (1, 8)),
        ({"nprocs": 32, "mem_gb": 64.0}, 1, (1, 8)),
        ({"nprocs": 8, "mem_gb": 64.0}, 20, (8, 1)),
        ({"nprocs": 8, "mem_gb": 8.5}, 20, (2, 4)),
        ({"nprocs": 8, "mem_gb": 0.5}, 20, (1, 8)),
        ({"nprocs": 8, "mem_gb": 64.0, "omp_nthreads": 3}, 20, (2, 3)),
        ({"nprocs": 2, "mem_gb": 64.0}, 0, (1, 2)),
    ],
)
def test_division(run, subjects, expected):
    share = module.divide(Config().replace("run", **run), subjects)
    assert (share.subjects, share.threads) == expected
    assert share.memory_gb * share.subjects == pytest.approx(run["mem_gb"])
    assert share.need_gb == module.SUBJECT_GB


@pytest.mark.parametrize(("need", "at_once"), [(1.0, 6), (2.1, 3), (9.0, 1)])
def test_division_by_what_the_data_need(need, at_once):
    config = Config().replace("run", nprocs=8, mem_gb=8.0)
    share = module.divide(config, 20, need)
    assert share.subjects == at_once
    assert share.need_gb == pytest.approx(1.25 * need)


def test_linear_algebra_stays_single_threaded(monkeypatch):
    environment = {}
    monkeypatch.setattr(module.os, "environ", environment)
    module.prepare_environment(4)
    assert environment["OPENBLAS_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "1"
    assert environment["NUMBA_NUM_THREADS"] == environment["OMP_NUM_THREADS"] == "4"


def test_low_mem_means_one_subject_at_a_time():
    config = Config().replace("run", nprocs=8, mem_gb=64.0, omp_nthreads=2)
    assert module.divide(config, 4).subjects == 4
    assert module.divide(config.replace("run", low_mem=True), 4).subjects == 1


#: A place that nobody can write, root included.
NOWHERE = Path("/proc/nowhere")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Usable caches and a usable temporary folder; what is registered for the end of the process is kept here."""
    registered = []
    monkeypatch.setattr(module.atexit, "register", lambda *call: registered.append(call))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path / "work", registered


def test_places_that_can_be_used_stay(places):
    work, registered = places
    before = dict(os.environ)
    assert module.provide_scratch(work) == []
    assert (dict(os.environ), list(work.iterdir()), registered) == (before, [], [])


@pytest.mark.parametrize("name", ["MPLCONFIGDIR", "NUMBA_CACHE_DIR"])
def test_a_cache_without_a_place_gets_one(places, monkeypatch, name):
    work, _ = places
    monkeypatch.setenv(name, str(NOWHERE))
    (sentence,) = module.provide_scratch(work)
    assert sentence.startswith(f"{name} can't be written")
    folder = Path(os.environ[name])
    assert folder.is_dir()
    assert folder.parent.parent == work
    assert tempfile.gettempdir() == str(work.parent / "own")


def test_a_home_that_is_not_there(places, monkeypatch):
    work, _ = places
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setenv("HOME", str(NOWHERE))
    (sentence,) = module.provide_scratch(work)
    assert "MPLCONFIGDIR" in sentence


@pytest.mark.parametrize("full", [True, False])
def test_temporary_files_go_to_the_work_directory(places, monkeypatch, full):
    work, _ = places
    if full:
        monkeypatch.setattr(module, "free_gb", lambda folder: 0.001)
    else:
        monkeypatch.setenv("TMPDIR", str(NOWHERE))
    (sentence,) = module.provide_scratch(work)
    assert ("is full" if full else "can't be written") in sentence
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent.parent == work


def test_without_any_place_there_is_a_sentence(places, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(NOWHERE))
    with pytest.raises(OutputError, match="can't be used"):
        module.provide_scratch(NOWHERE)


@pytest.mark.parametrize(("tidy_up", "left"), [(True, []), (False, ["work"])])
def test_nothing_is_left_when_the_process_ends(tmp_path, tidy_up, left):
    (tmp_path / "work").mkdir()
    code = (
        "from pathlib import Path; from migxai.execution.environment import provide_scratch; import os, sys; "
        f"provide_scratch(Path('work'), tidy_up={tidy_up}); print(os.environ['NUMBA_CACHE_DIR'])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(NOWHERE), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("work/scratch-")
    assert [path.name for path in tmp_path.iterdir()] == left


LABELS = st.lists(st.text("abc012", min_size=1, max_size=4), unique=True, max_size=40).map(sorted)


@given(LABELS, st.integers(1, 50))
def test_parts_are_disjoint_complete_and_even(labels, total):
    parts = [array_part(f"{index}/{total}", labels) for index in range(1, total + 1)]
    assert sorted(label for part in parts for label in part) == labels
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(LABELS, st.integers(1, 20), st.integers(0, 5), st.integers(1, 3))
def test_schedulers_agree_with_explicit_parts(labels, total, first, step):
    for index in range(total):
        expected = array_part(f"{index + 1}/{total}", labels)
        task, last = str(first + index * step), str(first + (total - 1) * step)
        slurm = {
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_ARRAY_TASK_MIN": str(first),
            "SLURM_ARRAY_TASK_COUNT": str(total),
            "SLURM_ARRAY_TASK_STEP": str(step),
        }
        assert array_part("auto", labels, slurm) == expected
        sge = {
            "SGE_TASK_ID": task, "SGE_TASK_FIRST": str(first), "SGE_TASK_LAST": last, "SGE_TASK_STEPSIZE": str(step),
        }  # fmt: skip
        assert array_part("auto", labels, sge) == expected
        assert array_part(f"auto/{total}", labels, {"PBS_ARRAY_INDEX": str(index + 1)}) == expected


@pytest.mark.parametrize("name", ["PBS_ARRAY_INDEX", "PBS_ARRAYID"])
def test_pbs_does_not_tell_the_size_and_gets_one_subject_a_task(name):
    assert array_part("auto", ["a", "b", "c"], {name: "2"}) == ("b",)
    with pytest.raises(UsageError, match="from 1 to 3"):
        array_part("auto", ["a", "b", "c"], {name: "0"})
    with pytest.raises(UsageError, match="task 4 of an array of 3"):
        array_part("auto", ["a", "b", "c"], {name: "4"})


def test_gaps_in_an_array_are_refused_rather_than_losing_subjects():
    gaps = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "3"}
    with pytest.raises(UsageError, match="without gaps"):
        array_part("auto", list("abcdefg"), gaps)


def test_no_array_at_all():
    assert array_part(None, ["b", "a"]) == ("b", "a")
    with pytest.raises(UsageError, match="no variable"):
        array_part("auto", ["a"], {"SGE_TASK_ID": "undefined"})


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "7"}, "SLURM 7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "SLURM 7_2"),
        ({"PBS_JOBID": "7[2].head"}, "PBS 7[2].head"),
        ({"JOB_ID": "7", "SGE_TASK_ID": "2"}, "SGE 7.2"),
        ({"JOB_ID": "7", "SGE_TASK_ID": "undefined"}, "SGE 7"),
        ({"JOB_ID": "7"}, ""),
    ],
)
def test_jobs_are_named_as_their_scheduler_does(variables, name):
    assert job_name(variables) == name
