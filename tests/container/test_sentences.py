"""What a container lacks is said in a sentence, and what it can do without does not stop it."""

from __future__ import annotations

import os

import pytest

from migxai import __version__
from tests.container.conftest import open_folder

pytestmark = [pytest.mark.container, pytest.mark.xdist_group("container")]

#: A group level of seconds.
QUICK = "--models svm --indicators reho --slices 4 --bootstraps 50 --folds 3 --trials 1 --comparison hc_vs_migraine"


@pytest.fixture
def somebody_else(engine):
    if engine.uid == os.getuid():
        pytest.skip("the container's user is the one who runs these tests")


@pytest.fixture
def maps(map_cohort):
    open_folder(map_cohort)
    return map_cohort


def test_version_and_help_need_nothing(engine):
    # Apptainer has a word of its own first.
    assert engine.run("--version", binds={}).text.splitlines()[-1] == f"migxai {__version__}"
    assert engine.run("--help", binds={}).code == 0


def test_input_not_mounted(engine, out):
    done = engine.run("/bids", "/out", "participant", binds={out: "/out"})
    assert (done.code, "'bids' is empty; check the path (or the container's bind mount)" in done.text) == (3, True)
    done = engine.run("/nowhere", "/out", "participant", binds={out: "/out"})
    assert (done.code, "/nowhere does not exist" in done.text) == (2, True)


def test_input_mounted_empty(engine, out, tmp_path):
    empty = open_folder(tmp_path / "empty")
    done = engine.run("/bids", "/out", "participant", binds={empty: f"/bids{engine.read_only}", out: "/out"})
    assert (done.code, "is empty; check the path (or the container's bind mount)" in done.text) == (3, True)


def test_input_of_somebody_else(engine, somebody_else, out, tmp_path):
    private = open_folder(tmp_path / "private")
    private.chmod(0o700)
    done = engine.run("/bids", "/out", "participant", binds={private: f"/bids{engine.read_only}", out: "/out"})
    assert done.code == 3
    assert f"/bids may not be read by this user ({engine.uid})" in done.text


def test_output_mounted_read_only(engine, maps, out):
    done = engine.run("/bids", "/out", "group", binds={maps: "/bids", out: f"/out{engine.read_only}"})
    assert (done.code, "read-only file system" in done.text) == (2, True)


def test_output_of_somebody_else(engine, somebody_else, maps, out):
    out.chmod(0o755)
    done = engine.run("/bids", "/out", "group", binds={maps: "/bids", out: "/out"})
    assert done.code == 2
    assert "no permission in the output directory" in done.text
    assert f"This process is user {engine.uid} " in done.text


def test_a_gpu_that_is_not_there(engine, maps, out):
    level = ["group", *QUICK.replace("svm", "googlenet --weights random --epochs 1").split(), "--device", "cuda"]
    done = engine.run("/bids", "/out", *level, binds={maps: "/bids", out: "/out"})
    assert done.code != 0
    assert "--device cuda was given, but this PyTorch" in done.text
    assert "Traceback" not in done.text


def test_more_asked_for_than_there_is(engine, out, tmp_path):
    root = open_folder(tmp_path / "bids")
    (root / "dataset_description.json").write_text('{"Name": "toy", "BIDSVersion": "1.9.0"}')
    func = root / "sub-01" / "func"
    func.mkdir(parents=True)
    (func / "sub-01_task-rest_bold.nii.gz").write_bytes(b"not an image")
    (func / "sub-01_task-rest_bold.json").write_text('{"RepetitionTime": 2.0}')
    docker = engine.bind == "-v"
    level = ["participant", "--nprocs", "4000", "--mem-gb", "64000"]
    limits = ["--cpus", "1", "--memory", "3g"] if docker else []
    done = engine.run("/bids", "/out", *level, binds={root: "/bids", out: "/out"}, extra=limits)
    assert done.code == 3, done.text
    assert f"--nprocs 4000 is more than the {'1 CPUs' if docker else ''}" in done.text
    assert f"--mem-gb 64000 is more than the {'3.2 GB' if docker else ''}" in done.text


@pytest.mark.parametrize("options", ["noexec,size=100m", "size=1m"])
def test_a_temporary_folder_that_is_noexec_or_full(engine, maps, out, options):
    if engine.bind != "-v":
        pytest.skip("Apptainer has no option for the options of /tmp")
    level = ["group", *QUICK.split()]
    extra = ["--tmpfs", f"/tmp:{options}"]
    done = engine.run("/bids", "/out", *level, binds={maps: "/bids", out: "/out"}, extra=extra)
    assert done.code == 0, done.text
    assert (out / "group" / "metrics.tsv").is_file()


def test_no_shared_memory(engine, maps, out):
    if engine.bind != "-v":
        pytest.skip("Apptainer always brings /dev/shm")
    level = ["group", *QUICK.split()]
    done = engine.run("/bids", "/out", *level, binds={maps: "/bids", out: "/out"}, extra=["--ipc", "none"])
    assert (done.code, "no shared memory" in done.text) == (5, True)
