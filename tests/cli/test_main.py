"""The real command line in processes of its own, with stand-ins (`fake_runner`) for the work itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from migxai.bids.records import SubjectRecord, read_record, write_record
from migxai.cli.parser import parse
from migxai.config import from_toml

HEAVY = ("torch", "nipype", "bids", "nilearn", "numba", "matplotlib", "pandas", "numpy", "scipy", "nibabel", "rich")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["--bogus"], 2),
        (["/in", "/out", "group"], 2),
        (["/gone", "/out", "participant"], 2),
    ],
)
def test_nothing_heavy_is_imported_for_help_version_and_errors(arguments, code):
    program = (
        "import sys; from migxai.cli.main import main; code = main(sys.argv[1:]);"
        f"print('LOADED', *[name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_module_is_runnable(run):
    code, out, _ = run("--version", fake=False)
    assert code == 0
    assert out.startswith("migxai ")


def test_all_done(run, dataset, tmp_path):
    out = tmp_path / "out"
    code, _, err = run(dataset("ok1", "ok2", "ok3"), out, "participant", "--nprocs", "2", "--mem-gb", "64")
    assert code == 0, err
    assert err.count(": complete") == 3
    assert "3 of 3 subjects complete." in err
    # One thread each of two CPUs, and nipype told not to phone home before anything is imported.
    assert {file.read_text() for file in out.glob("*.ran")} == {"1 1 1"}
    assert not (out / ".work").exists()


@pytest.mark.parametrize(
    ("subjects", "expected", "sentences"),
    [
        (("ok1", "bad1", "ok2"), 1, ["sub-bad1: failed: sub-bad_bold.nii.gz is cut short", "2 of 3 subjects complete"]),
        (("bad1", "bad2"), 3, ["0 of 2 subjects complete"]),
        (("kill1", "ok1"), 5, ["sub-kill1: failed: killed by signal 9, most likely out of memory", "1 of 2 subjects"]),
        (("mem1",), 5, ["ran out of memory"]),
        (("disk1",), 5, ["The disk is full"]),
        (("bug1",), 70, ["internal error, ValueError: something nobody thought of (traceback in"]),
        (("segv1",), 70, ["killed by signal 11 (SIGSEGV)"]),
        (("exit1",), 70, ["ended with code 9"]),
        (("ok1", "bug1"), 1, ["internal error"]),
    ],
)
def test_exit_codes(run, dataset, tmp_path, subjects, expected, sentences):
    out = tmp_path / "out"
    code, _, err = run(dataset(*subjects), out, "participant")
    assert code == expected, err
    assert all(sentence in err for sentence in sentences), err
    assert "Traceback" not in err
    (log,) = (out / ".work" / "logs").glob("migxai-*.log")
    assert "first step" in log.read_text()
    assert ("Traceback" in log.read_text()) == any(name.startswith(("bug", "mem", "disk")) for name in subjects)
    code, table, _ = run(out.parent / "bids", out, "participant", "--status")
    assert code == 1
    for name in subjects:
        assert f"sub-{name}\t{'missing' if name.startswith('ok') else 'failed'}" in table
    # What is written into the output names no folder and no date of this run.
    for record in (out / "logs").glob("*"):
        assert str(tmp_path) not in record.read_text()
        assert ".log" not in record.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--participant-label", "nobody"], "No participant 'nobody'"),
        (["--low", "1"], "must be less than"),
        (["--preset", "paper", "--indicators", "falff"], "fALFF"),
        (["--array-index", "auto"], "no variable"),
        (["-w", "/proc/nothing"], "work directory"),
    ],
)
def test_wrong_usage_is_one_sentence(run, dataset, tmp_path, arguments, sentence):
    code, _, err = run(dataset("ok1"), tmp_path / "out", "participant", *arguments)
    assert code == 2
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_no_bids_dataset(run, tmp_path):
    (tmp_path / "x").mkdir()
    code, _, err = run(tmp_path / "x", tmp_path / "out", "participant")
    assert code == 3
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_bug_outside_the_children_is_70_with_its_traceback_kept(run, dataset, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "plugin.yml").write_text("plugin: MultiProc\n")
    code, _, err = run(dataset("ok1"), out, "participant", "--use-plugin", tmp_path / "plugin.yml")
    assert code == 70
    assert "internal error, AssertionError" in err
    (log,) = (out / ".work" / "logs").glob("migxai-*.log")
    assert "Traceback" in log.read_text()


def test_plugin(run, dataset, tmp_path):
    (tmp_path / "plugin.yml").write_text("plugin: Linear\n")
    code, _, err = run(dataset("ok1", "bad1"), tmp_path / "out", "participant", "--use-plugin", tmp_path / "plugin.yml")
    assert code == 1
    assert "sub-bad1: failed: cut short." in err


def test_a_signal_ends_what_a_plugin_has_started(start, dataset, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "plugin.yml").write_text("plugin: Linear\n")
    process = start(dataset("hang1"), out, "participant", "--use-plugin", tmp_path / "plugin.yml")
    pids = wait_for("*.pids", out, 1)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert all(map(gone, pids))


def test_reports_only_leaves_records_alone(run, dataset, tmp_path):
    root, out = dataset("bad1", "ok1"), tmp_path / "out"
    write_record(out, SubjectRecord("bad1", "complete", "x"))
    code, _, err = run(root, out, "participant", "--reports-only")
    assert code == 1
    assert "sub-bad1: failed" in err
    assert read_record(out, "bad1").state == "complete"
    assert not (out / "logs" / "config.toml").exists()


def test_stop_on_first_crash(run, dataset, tmp_path):
    arguments = ["--stop-on-first-crash", "--nprocs", "1"]
    code, _, err = run(dataset("bad1", "ok1", "ok2"), tmp_path / "out", "participant", *arguments)
    assert code == 3
    assert "2 not run" in err
    assert not (tmp_path / "out" / "sub-ok1.ran").exists()


def wait_for(files, folder, number=2):
    deadline = time.monotonic() + 30
    while len(list(folder.glob(files))) < number:
        assert time.monotonic() < deadline, "the children did not start"
        time.sleep(0.05)
    time.sleep(0.2)
    return [int(pid) for file in folder.glob(files) for pid in file.read_text().split()]


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_everything(start, dataset, tmp_path, signum):
    out = tmp_path / "out"
    process = start(dataset("hang1", "hang2"), out, "participant", "--nprocs", "2", "--mem-gb", "64")
    pids = wait_for("*.pids", out)
    assert len(pids) == 4
    os.kill(process.pid, signum)
    _, err = process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGKILL if signum == signal.SIGKILL else 128 + signum)
    deadline = time.monotonic() + 10
    while not all(map(gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(gone, pids))
    assert signum == signal.SIGKILL or f"Ended by {signal.Signals(signum).name}" in err
    assert "Traceback" not in err


def test_what_a_killed_child_had_started_ends_with_it(start, dataset, tmp_path):
    out = tmp_path / "out"
    process = start(dataset("hang1", "hang2"), out, "participant", "--nprocs", "2", "--mem-gb", "64")
    wait_for("*.pids", out)
    for file in out.glob("*.pids"):
        os.kill(int(file.read_text().split()[0]), signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode == 5
    assert all(gone(int(file.read_text().split()[1])) for file in out.glob("*.pids"))


def test_complete_subjects_are_skipped(run, dataset, tmp_path):
    root, out = dataset("ok1", "ok2"), tmp_path / "out"
    key = parse([str(root), str(out), "participant"]).config.resume_key()
    write_record(out, SubjectRecord("ok1", "complete", key))
    code, _, err = run(root, out, "participant")
    assert code == 0
    assert "sub-ok1: skipped: complete already" in err
    assert sorted(file.name for file in out.glob("*.ran")) == ["sub-ok2.ran"]
    # Another configuration, or another run of the subject, is not what is complete.
    for number, other in enumerate((["--fwhm", "5"], ["--run-id", "2"])):
        (out / "sub-ok2.ran").unlink()
        code, _, err = run(root, out, "participant", *other)
        assert "skipped" not in err, number
        assert (out / "sub-ok1.ran").exists()


def test_status(run, dataset, tmp_path):
    root, out = dataset("ok1", "ok2"), tmp_path / "out"
    config = parse([str(root), str(out), "participant", "--fwhm", "5"]).config
    assert run(root, out, "participant", "--status")[0] == 1
    assert not out.exists()
    for label in ("ok1", "ok2"):
        write_record(out, SubjectRecord(label, "complete", config.resume_key()))
    assert run(root, out, "participant", "--status")[0] == 0
    assert run(root, out, "participant", "--status", "--fwhm", "5")[0] == 0
    code, table, _ = run(root, out, "participant", "--status", "--fwhm", "6")
    assert (code, table.count("outdated\t")) == (1, 2)
    write_record(out, SubjectRecord("ok2", "failed", config.resume_key(), error="No signal."))
    code, table, _ = run(root, out, "participant", "--status")
    assert code == 1
    assert "sub-ok2\tfailed\t0 usable, 0 excluded\tNo signal." in table


def test_dry_run_writes_nothing_and_imports_no_engine(dataset, tmp_path):
    program = (
        "import sys; from migxai.cli.main import main; code = main(sys.argv[1:]);"
        "print('LOADED', *[name for name in ('nipype', 'torch', 'numba') if name in sys.modules]); sys.exit(code)"
    )
    arguments = [str(dataset("ok1", "ok2")), str(tmp_path / "out"), "participant", "--dry-run", "--fwhm", "5"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
    assert "sub-ok2_task-rest_bold.nii.gz" in done.stdout
    assert "fwhm = 5.0" in done.stdout
    assert not (tmp_path / "out").exists()


def test_configuration_is_written_and_reproduces_the_run(run, dataset, tmp_path):
    root, one, two = dataset("ok1"), tmp_path / "one", tmp_path / "two"
    assert run(root, one, "participant", "--fwhm", "5", "--preset", "paper", "--nprocs", "1", "-v")[0] == 0
    text = (one / "logs" / "config.toml").read_text()
    assert str(tmp_path) not in text
    assert from_toml(text).denoising.fwhm == 5.0
    assert run(root, two, "participant", "--config-file", one / "logs" / "config.toml")[0] == 0
    assert (two / "logs" / "config.toml").read_text() == text


def test_array_tasks_share_the_work(run, dataset, tmp_path):
    root, out = dataset("ok1", "ok2", "ok3"), tmp_path / "out"
    assert run(root, out, "participant", "--array-index", "1/2")[0] == 0
    assert sorted(file.name for file in out.glob("*.ran")) == ["sub-ok1.ran", "sub-ok3.ran"]
    slurm = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "2"}
    assert run(root, out, "participant", "--array-index", "auto", extra=slurm)[0] == 0
    assert (out / "sub-ok2.ran").exists()
    code, _, err = run(root, out, "participant", "--array-index", "7/9")
    assert code == 0
    assert "0 of 0 subjects" in err


def test_resource_monitor(run, dataset, tmp_path):
    out = tmp_path / "out"
    assert run(dataset("big1", "ok1"), out, "participant", "--resource-monitor")[0] == 0
    (file,) = (out / ".work" / "logs").glob("*_resources.json")
    peaks = json.loads(file.read_text())
    assert 200 < peaks["sub-big1"]["peak_rss_mb"] < 500
    assert peaks["sub-ok1"]["peak_rss_mb"] < 150


def test_chatter_goes_to_the_log_unless_asked_for(run, dataset, tmp_path):
    root = dataset("ok1")
    code, out, err = run(root, tmp_path / "a", "participant", "--keep", "all")
    assert "chatter" not in out + err
    assert (tmp_path / "a" / ".work" / "sub-ok1" / "intermediate").exists()
    assert "warning: sub-ok1: a warning from below" in err
    assert "chatter" in (tmp_path / "a" / ".work" / "logs" / "sub-ok1.log").read_text()
    code, out, err = run(root, tmp_path / "b", "participant", "-vv")
    assert code == 0
    assert "chatter" in out


def test_boilerplate_only(run, dataset, tmp_path):
    out = tmp_path / "out"
    assert run(dataset("ok1"), out, "participant", "--boilerplate-only")[0] == 0
    assert (out / "logs" / "CITATION.md").read_text() == "We did."
    assert not list(out.glob("*.ran"))


def test_own_work_directory_keeps_logs_and_what_failed(run, dataset, tmp_path):
    work = tmp_path / "work"
    assert run(dataset("ok1", "bad1"), tmp_path / "out", "participant", "-w", work)[0] == 1
    assert list((work / "logs").glob("migxai-*.log"))
    assert (work / "sub-bad1" / "intermediate").exists()
    assert not (work / "sub-ok1").exists()
    assert not (tmp_path / "out" / ".work").exists()
