from __future__ import annotations

import getpass
import json
import multiprocessing
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from migxai.bids.inputs import collect_inputs
from migxai.bids.names import derivative_path
from migxai.bids.outputs import (
    BIDSIGNORE,
    IMAGE_VARIABLE,
    SourceDataset,
    initialise_output,
    resolution_label,
    sidecar,
    update_participants,
)
from migxai.config import Config
from migxai.errors import InputError, OutputError
from migxai.io import write_json, write_nifti, write_text, write_tsv


def description(output: Path) -> dict:
    return json.loads((output / "dataset_description.json").read_text())


def test_the_description_names_origin_and_software(raw, tmp_path):
    output = tmp_path / "out"
    initialise_output(output, [SourceDataset("raw", raw())])
    content = description(output)
    assert content["Name"] == "migxai derivatives of Headache Centre A"
    assert content["DatasetType"] == "derivative"
    assert content["GeneratedBy"][0]["Name"] == "migxai"
    assert content["DatasetLinks"] == {"raw": "../bids"}
    assert (output / ".bidsignore").read_text().split() == list(BIDSIGNORE)


def test_an_earlier_program_is_named_without_its_container(fmriprep, tmp_path):
    initialise_output(tmp_path / "out", [SourceDataset("fmriprep", fmriprep())])
    assert description(tmp_path / "out")["GeneratedBy"][1] == {"Name": "fMRIPrep", "Version": "23.2.0"}
    assert "/home" not in (tmp_path / "out" / "dataset_description.json").read_text()


def test_a_source_far_away_is_named_without_its_path(raw, tmp_path, as_json):
    root = raw()
    output = tmp_path / "deep" / "er" / "out"
    initialise_output(output, [SourceDataset("raw", root)])
    assert description(output)["DatasetLinks"] == {"raw": "urn:migxai:raw:Headache-Centre-A"}
    inside = root / "derivatives" / "migxai"
    initialise_output(inside, [SourceDataset("raw", root)])
    assert description(inside)["DatasetLinks"] == {"raw": "../.."}
    as_json(root / "dataset_description.json", {"Name": "A", "DatasetDOI": "doi:10.1/x", "License": "CC0"})
    initialise_output(output, [SourceDataset("raw", root)])
    assert description(output)["DatasetLinks"] == {"raw": "doi:10.1/x"}
    assert description(output)["License"] == "CC0"


def test_the_container_is_named_if_there_is_one(monkeypatch, tmp_path, raw):
    monkeypatch.setenv(IMAGE_VARIABLE, "migxai:0.1.0")
    initialise_output(tmp_path / "a", [SourceDataset("raw", raw())])
    assert description(tmp_path / "a")["GeneratedBy"][0]["Container"] == {"Type": "docker", "Tag": "migxai:0.1.0"}
    monkeypatch.setenv("APPTAINER_CONTAINER", "/home/me/migxai.sif")
    initialise_output(tmp_path / "b", [SourceDataset("raw", tmp_path / "bids")])
    assert description(tmp_path / "b")["GeneratedBy"][0]["Container"] == {"Type": "apptainer", "Tag": "migxai:0.1.0"}


def test_a_foreign_dataset_is_never_written_into(tmp_path, fmriprep):
    with pytest.raises(OutputError, match="another dataset"):
        initialise_output(fmriprep(), [])


def test_only_allowed_columns_of_participants_are_copied(raw, tmp_path, as_json):
    root = raw()
    as_json(root / "participants.json", {"age": {"Units": "years"}, "name": {"Description": "secret"}})
    output = tmp_path / "out"
    update_participants(output, SourceDataset("raw", root), ["02", "01"])
    assert (output / "participants.tsv").read_text() == (
        "participant_id\tage\tsex\tHAMD24\tgroup\tsite\n"
        "sub-01\t30\tF\t0\tHC\tHeadache Centre A\n"
        "sub-02\t31\tF\t1\tHC\tHeadache Centre A\n"
    )
    assert json.loads((output / "participants.json").read_text()) == {"age": {"Units": "years"}}
    update_participants(output, SourceDataset("raw", root), ["10", "99"])
    lines = (output / "participants.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["sub-01", "sub-02", "sub-10", "sub-99"]
    assert lines[-1] == "sub-99\tn/a\tn/a\tn/a\tn/a\tHeadache Centre A"


def test_a_site_that_is_given_stays(raw, tmp_path):
    root = raw({"01": ["task-rest"], "02": ["task-rest"]})
    (root / "participants.tsv").write_text("participant_id\tsite\nsub-01\tRome\nsub-02\tn/a\n")
    table = update_participants(tmp_path / "out", SourceDataset("raw", root), ["01", "02"])
    assert list(table["site"]) == ["Rome", "Headache Centre A"]


def test_without_participants_there_is_still_a_table(raw, tmp_path):
    root = raw()
    (root / "participants.tsv").unlink()
    table = update_participants(tmp_path / "out", SourceDataset("raw", root), ["01"])
    assert table.to_dict("records") == [{"participant_id": "sub-01", "site": "Headache Centre A"}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("id\tage\nsub-01\t3\n", "no column participant_id"), ("participant_id\nsub-01\n01\n", "sub-01 more than once")],
)
def test_unusable_participants_are_a_sentence(raw, tmp_path, text, sentence):
    root = raw()
    (root / "participants.tsv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        update_participants(tmp_path / "out", SourceDataset("raw", root), ["01"])


def enter(output, root, label):
    initialise_output(output, [SourceDataset("raw", root)])
    update_participants(output, SourceDataset("raw", root), [label])


def test_array_jobs_share_the_dataset(raw, tmp_path):
    root, output = raw(), tmp_path / "out"
    labels = ["01", "02", "10"]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=enter, args=(output, root, label)) for label in labels]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    table = pd.read_csv(output / "participants.tsv", sep="\t")
    assert list(table["participant_id"]) == ["sub-01", "sub-02", "sub-10"]
    assert sorted(path.name for path in output.iterdir()) == [
        ".bidsignore",
        "dataset_description.json",
        "participants.tsv",
    ]


def test_a_sidecar_says_what_was_done():
    content = sidecar("ALFF", sources=["bids:raw:a"], resolution=3.0, excluded="motion", Definition="rest", Empty=None)
    assert content["Resolution"] == "3 mm isotropic"
    assert (content["Excluded"], content["ExclusionReason"]) == (True, "motion")
    assert content["Definition"] == "rest"
    assert "Empty" not in content
    assert content["Sources"] == ["bids:raw:a"]
    assert sidecar("x")["Excluded"] is False
    with pytest.raises(ValueError, match="BIDS URIs"):
        sidecar("x", sources=["/data/a"])


def test_resolution_labels():
    assert [resolution_label(value) for value in (3, 2.0, 2.5)] == ["3", "2", "2p5"]


def fill(output: Path, root: Path) -> None:
    """Write what DESIGN lists for each subject."""
    inputs = collect_inputs(Config().replace("run", bids_dir=root))
    initialise_output(output, inputs.sources)
    update_participants(output, inputs.participants, [subject.label for subject in inputs.subjects])
    grid = {"space": "MNI152NLin2009cAsym", "res": "3"}
    write_text(output / "README.md", "Maps of resting-state fMRI, made by migxai for a test of the derivatives.\n" * 3)
    write_text(output / "logs" / "CITATION.md", "x\n")
    for subject in inputs.subjects:
        write_text(output / f"sub-{subject.label}.html", "<html></html>")
        write_text(output / f"sub-{subject.label}" / "figures" / "x.svg", "<svg/>")
        for run in subject.runs:
            about = sidecar("Made for a test.", sources=run.sources, resolution=3.0)

            def write(entities, suffix, values, *, tr=None, dtype="float32", run=run, about=about, **fields):
                path = output / derivative_path({**run.entities, **entities}, suffix, ".nii.gz")
                write_nifti(path, values, np.eye(4) * 3, space="MNI152NLin2009cAsym", repetition_time=tr, dtype=dtype)
                write_json(path.with_name(path.name.replace(".nii.gz", ".json")), {**about, **fields})

            volume = np.random.default_rng(0).random((4, 4, 4))
            write({**grid, "stat": "alff"}, "boldmap", volume)
            write({**grid, "desc": "brain"}, "mask", volume > 0.5, dtype="uint8", Type="Brain")
            series = np.random.default_rng(0).random((4, 4, 4, 5))
            write(
                {**grid, "desc": "denoised"},
                "bold",
                series,
                tr=2.0,
                TaskName="rest",
                RepetitionTime=2.0,
                SkullStripped=False,
            )
            for entities, suffix in (
                ({"desc": "confounds"}, "timeseries"),
                ({**grid, "atlas": "AAL", "stat": "mean"}, "timeseries"),
                ({**grid, "atlas": "AAL", "stat": "pearsoncorrelation"}, "relmat"),
                ({**grid, "atlas": "AAL", "stat": "alff"}, "boldmap"),
            ):
                path = output / derivative_path({**run.entities, **entities}, suffix, ".tsv")
                write_tsv(path, pd.DataFrame({"a": [0.5]}))
            anat = {"sub": subject.label, "from": "T1w", "to": "MNI152NLin2009cAsym", "mode": "image"}
            write_text(output / derivative_path(anat, "xfm", ".txt", "anat"), "x")


def validator() -> str:
    found = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which(
        "bids-validator-deno"
    )
    if found is None:
        pytest.skip("bids-validator-deno is not installed")
    return found


@pytest.mark.parametrize("middles", [["task-rest"], ["ses-a_task-rest_acq-x_rec-y_dir-AP_run-01"]])
def test_raw_and_derivative_datasets_are_valid(raw, tmp_path, middles):
    root, output = raw({"01": middles, "02": middles}), tmp_path / "out"
    fill(output, root)
    for folder in (root, output):
        done = subprocess.run([validator(), str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_two_places_give_the_same_bytes_and_name_no_machine(raw, tmp_path):
    root = raw()
    for name in ("first", "second"):
        fill(tmp_path / name, root)

    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = content(tmp_path / "first")
    assert first == content(tmp_path / "second")
    words = [str(tmp_path), str(Path.home()), socket.gethostname()]
    user = getpass.getuser()
    for path, stored in first.items():
        if path.suffix == ".gz":
            import gzip

            stored = gzip.decompress(stored)[:352]
        for word in [*words, *([f"/{user}", f"{user}@"])]:
            assert word.encode() not in stored, path
