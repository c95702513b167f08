from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from migxai.bids.names import derivative_path
from migxai.bids.outputs import sidecar
from migxai.cohort import read_maps
from migxai.cohort.datasets import MAP_COLUMNS
from migxai.errors import InputError, UsageError
from migxai.io import write_json, write_nifti


def site(root: Path, name: str, people: dict[str, list[dict[str, str]]], participants: str = "") -> Path:
    root.mkdir(parents=True)
    write_json(root / "dataset_description.json", {"Name": name, "BIDSVersion": "1.10.0"})
    if participants:
        (root / "participants.tsv").write_text(participants)
    for label, maps in people.items():
        for entities in maps:
            excluded = entities.pop("excluded", None)
            path = root / derivative_path({"sub": label, "task": "rest", **entities}, "boldmap", ".nii.gz")
            write_nifti(path, np.ones((2, 2, 2)), np.eye(4))
            write_json(path.with_name(path.name.replace(".nii.gz", ".json")), sidecar("x", excluded=excluded))
    return root


def test_maps_come_with_labels(tmp_path):
    people = {"01": [{"stat": "alff"}, {"stat": "reho"}], "02": [{"stat": "alff", "excluded": "motion of 3.1 mm"}]}
    table = "participant_id\tgroup\tage\tsite\nsub-01\tHC\t30\tRome\nsub-02\tMWA\tn/a\tn/a\n"
    maps = read_maps(site(tmp_path / "a", "A", people, table))
    assert list(maps.columns) == [*MAP_COLUMNS, "group", "age", "site"]
    assert list(maps["indicator"]) == ["alff", "reho", "alff"]
    assert list(maps["form"]) == ["mean"] * 3
    assert list(maps["excluded"]) == [False, False, True]
    assert maps["exclusion_reason"].iloc[2] == "motion of 3.1 mm"
    assert list(maps["site"]) == ["Rome", "Rome", "A"]
    assert maps["age"].dtype == np.float64
    assert np.isnan(maps["age"].iloc[2])
    assert all(path.is_file() for path in maps["path"])


def test_the_mean_over_runs_stands_for_its_runs(tmp_path):
    people = {
        "01": [{"stat": "alff"}, {"stat": "alff", "run": "1"}, {"stat": "alff", "run": "2"}],
        "02": [{"stat": "alff", "run": "1"}],
    }
    root = site(tmp_path / "a", "A", people)
    assert [run if isinstance(run, str) else None for run in read_maps(root)["run"]] == [None, "1"]
    assert len(read_maps(root, runs=True)) == 4


def test_indicators_and_forms_are_selected(tmp_path):
    maps = [{"stat": "alff"}, {"stat": "alff", "desc": "zscore"}, {"stat": "reho"}]
    root = site(tmp_path / "a", "A", {"01": maps})
    assert len(read_maps(root, stat="alff")) == 2
    assert list(read_maps(root, stat=["alff"], form="zscore")["form"]) == ["zscore"]
    with pytest.raises(InputError, match=r"'rfcs'; there are: alff, reho"):
        read_maps(root, stat="rfcs")


def test_sites_are_pooled_and_the_same_label_is_two_people(tmp_path):
    table = "participant_id\tgroup\nsub-01\tHC\n"
    first = site(tmp_path / "a", "A", {"01": [{"stat": "alff"}]}, table)
    second = site(tmp_path / "b", "B", {"01": [{"stat": "alff"}]}, "participant_id\tsex\nsub-01\tF\n")
    maps = read_maps([first, str(second)])
    assert list(zip(maps["dataset"], maps["participant_id"], strict=True)) == [("A", "sub-01"), ("B", "sub-01")]
    assert list(maps["site"]) == ["A", "B"]
    third = site(tmp_path / "c", "A", {"02": [{"stat": "alff"}]})
    with pytest.raises(UsageError, match="same Name, 'A'"):
        read_maps([first, third])


def test_regional_tables_are_listed_too(tmp_path):
    root = site(tmp_path / "a", "A", {"01": [{"stat": "alff"}]})
    name = "sub-01_task-rest_space-MNI152NLin2009cAsym_atlas-AAL_stat-coverage_boldmap.tsv"
    (root / "sub-01" / "func" / name).write_text("a\n1\n")
    assert list(read_maps(root, extension=".tsv")["indicator"]) == ["coverage"]


def test_no_maps_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no dataset_description"):
        read_maps(tmp_path)
    root = site(tmp_path / "a", "A", {})
    with pytest.raises(InputError, match="run the participant level first"):
        read_maps(root)


def test_the_package_is_quick_to_import():
    code = "import sys, migxai.bids; sys.exit(any(name in sys.modules for name in ('pandas', 'bids', 'nibabel')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared
def test_a_dataset_of_another_program_is_read(shared_data):
    maps = read_maps(shared_data / "abide-reho-3sites", stat="reho")
    assert len(maps) == 114
    assert set(maps["site"]) == {"OLIN", "PITT", "TRINITY"}
    assert set(maps["space"]) == {"MNI152NLin6Asym"}
    assert maps["group"].notna().all()
    assert maps["age"].between(5, 70).all()
    assert not maps["excluded"].any()
