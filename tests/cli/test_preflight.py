from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from migxai.cli import preflight
from migxai.cli.parser import parse
from migxai.errors import InputError, OutputError, ResourceError, UsageError


@pytest.fixture
def config(dataset, tmp_path):
    root = dataset("01")

    def make(output=tmp_path / "out", *arguments, bids=root):
        return parse([str(bids), str(output), "participant", *map(str, arguments)]).config

    return make


def test_usual_places_are_fine(config, tmp_path):
    for output in (tmp_path / "out", tmp_path / "bids" / "derivatives" / "migxai"):
        preflight.check_places(config(output))
        assert not output.exists()
        preflight.prepare_output(config(output))
        assert output.is_dir()
        assert (output / ".work").is_dir()


def test_misplaced_directories(config, tmp_path):
    bids = tmp_path / "bids"
    cases = {
        "input dataset itself": config(bids),
        "inside the input dataset": config(bids / "out"),
        "work directory .* inside the input": config(tmp_path / "out", "-w", bids / "work"),
        "inside the work directory": config(tmp_path / "w" / "out", "-w", tmp_path / "w"),
        "inside the derivative": config(bids / "out", "-d", f"fmriprep={bids}"),
    }
    for sentence, wrong in cases.items():
        with pytest.raises(UsageError, match=sentence):
            preflight.check_places(wrong)


def test_a_link_into_the_input_is_seen_through(config, tmp_path):
    (tmp_path / "bids" / "sub-01" / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bids" / "sub-01")
    with pytest.raises(UsageError, match="inside the input dataset"):
        preflight.check_places(config(tmp_path / "link" / "x"))


def test_what_is_named_must_exist(config, tmp_path):
    gone = tmp_path / "gone"
    labels = tmp_path / "labels.tsv"
    labels.write_text("index\tname\n")
    cases = [
        config(bids=gone),
        config(tmp_path / "out", "-d", f"fmriprep={gone}"),
        config(tmp_path / "out", "--use-plugin", gone),
        config(tmp_path / "out", "--atlas", gone, "--atlas-labels", labels),
    ]
    for wrong in cases:
        with pytest.raises(UsageError, match="gone"):
            preflight.check_places(wrong)


def test_unusable_output(config, tmp_path):
    (tmp_path / "file").write_text("x")
    for wrong in (config(tmp_path / "file"), config(tmp_path / "file" / "out"), config("/proc/nothing")):
        with pytest.raises(OutputError, match="output directory"):
            preflight.prepare_output(wrong)
    with pytest.raises(OutputError, match="work directory"):
        preflight.prepare_output(config(tmp_path / "out", "-w", tmp_path / "file"))


def test_anothers_dataset_is_not_written_into(config, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.9.0"}))
    with pytest.raises(OutputError):
        preflight.prepare_output(config())


def test_full_disk(config, monkeypatch):
    monkeypatch.setattr(preflight, "free_gb", lambda folder: 0.01)
    with pytest.raises(ResourceError, match=r"Only 0\.01 GB are free"):
        preflight.prepare_output(config())


def test_a_dataset_that_may_not_be_read(config, monkeypatch):
    monkeypatch.setattr(preflight.os, "access", lambda folder, mode: False)
    with pytest.raises(InputError, match=r"bids_dir .* may not be read by this user"):
        preflight.check_places(config())


def test_output_of_somebody_else_names_the_user(config, monkeypatch):
    def deny(path):
        raise OutputError("no permission.") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(preflight, "prepare_directory", deny)
    with pytest.raises(OutputError, match=f"This process is user {os.getuid()} "):
        preflight.prepare_output(config())


def test_pools_need_shared_memory(monkeypatch):
    preflight.check_shared_memory()

    class NoMemory:
        def Lock(self):  # noqa: N802
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(preflight.multiprocessing, "get_context", lambda method: NoMemory())
    with pytest.raises(ResourceError, match=r"shared memory .*No space left on device.*--shm-size"):
        preflight.check_shared_memory()


def test_doubts(config, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    assert preflight.doubts(config()) == []
    asked = config(tmp_path / "out", "--nprocs", 4096, "--mem-gb", 1e6)
    assert [sentence.split(" is more")[0] for sentence in preflight.doubts(asked)] == [
        "--nprocs 4096",
        "--mem-gb 1e+06",
    ]


def test_an_output_that_goes_with_its_container_is_doubted(config, tmp_path, monkeypatch):
    monkeypatch.setenv(preflight.IMAGE_VARIABLE, "migxai:0.1.0")
    (tmp_path / "out").mkdir()
    lost = any("lost with it" in sentence for sentence in preflight.doubts(config()))
    assert lost == ((tmp_path / "out").stat().st_dev == Path("/").stat().st_dev)
