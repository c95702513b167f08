"""Cohorts that the group level takes: several sites, folds of another run, no raw images, and a disk that is full."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.e2e.conftest import run
from tests.e2e.group_runs import QUICK, GroupRun, change_map, change_people, copy_maps, everything, map_of, maps
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort", "maps"]

pytestmark = pytest.mark.xdist_group("e2e_group")


def test_sites_with_equal_labels_are_pooled_and_left_out_one_by_one(maps, no_network, tmp_path):
    other = copy_maps(maps, tmp_path / "other")
    for number in range(1, 17):
        change_map(map_of(other, f"{number:02d}"), lambda values: values * np.float32(1.01))
    change_people(other, lambda table: table.drop(columns="site"))
    here = copy_maps(maps, tmp_path / "here")
    change_people(here, lambda table: table.drop(columns="site"))
    arguments = [here, tmp_path / "out", "group", *QUICK, "-d", f"siteB={other}", "--cv", "leave-one-site-out"]
    code, text = run(*arguments, "--permutations", "3", env=no_network)
    assert code == 0, text
    output = GroupRun(here, tmp_path / "out", code, text)
    cohort = output.table("cohort")
    assert dict(cohort["dataset"].value_counts()) == {"migxai demo maps": 16, "siteB": 16}
    assert (cohort["site"] == cohort["dataset"]).all()
    assert cohort["participant_id"].nunique() == 16, "the same labels at both"
    for _, rows in output.table("folds").groupby("fold"):
        assert rows["dataset"].nunique() == 1, "a fold is a site"
        assert len(rows) == 16
    predictions = output.table("predictions")
    assert predictions.groupby("model")["subject"].nunique().eq(32).all()
    permuted = output.table("permutations")
    assert set(permuted["model"]) == {"svm"}
    assert set(permuted["permutations"]) == {3}
    assert permuted["p"].between(0.25, 1).all()
    observed = permuted.set_index("metric")["observed"]
    scores = output.table("metrics")
    scores = scores[(scores["model"] == "svm") & (scores["level"] == "subject")].set_index("metric")["value"]
    assert observed["balanced_accuracy"] == pytest.approx(scores["balanced_accuracy"])
    links = json.loads((output.output / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"maps", "siteB"}


def test_folds_can_be_used_again_and_no_raw_image_is_needed(maps, no_network, tmp_path):
    """The raw dataset has lost its images; what is left of it holds the labels, and the output holds the maps."""
    raw = tmp_path / "raw"
    raw.mkdir()
    shutil.copyfile(maps / "participants.tsv", raw / "participants.tsv")
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "study", "BIDSVersion": "1.9.0"}))
    output = copy_maps(maps, tmp_path / "derivatives")
    content = json.loads((output / "dataset_description.json").read_text())
    content["GeneratedBy"] = [{"Name": "migxai", "Version": "0.1.0"}]
    (output / "dataset_description.json").write_text(json.dumps(content))
    change_people(output, lambda table: table[["participant_id", "site"]])
    arguments = [raw, output, "group", *QUICK, "--nprocs", "1"]
    before = everything(tmp_path)
    code, text = run(*arguments, "--dry-run", env=no_network)
    assert code == 0, text
    assert "16 people, 0 left out" in text
    assert everything(tmp_path) == before, "--dry-run writes nothing"
    code, text = run(raw, output, "group", "--status", env=no_network)
    assert (code, "not been run" in text) == (1, True), text
    assert everything(tmp_path) == before, "neither does --status"

    code, text = run(*arguments, env=no_network)
    assert code == 0, text
    after = everything(tmp_path)
    assert {name: after[name] for name in before} == before, "nothing that was there is changed"
    code, text = run(raw, output, "group", "--status", env=no_network)
    assert (code, text) == (0, "The group level is complete.\n")

    group = output / "group"
    kept = {name: (group / name).read_bytes() for name in ("metrics.tsv", "metrics.json", "table2.tsv")}
    for name in kept:
        (group / name).unlink()
    code, text = run(raw, output, "group", "--reports-only", env=no_network)
    assert code == 0, text
    assert {name: (group / name).read_bytes() for name in kept} == kept

    shutil.copyfile(raw / "participants.tsv", output / "participants.tsv")
    again = [output, tmp_path / "again", "group", *QUICK, "--random-seed", "5", "--folds-file", group / "folds.tsv"]
    code, text = run(*again, env=no_network)
    assert code == 0, text
    assert (tmp_path / "again" / "group" / "folds.tsv").read_bytes() == (group / "folds.tsv").read_bytes()


def test_a_full_disk_is_said_to_be_full(maps, no_network, tmp_path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = [sys.executable, "-m", "migxai", str(maps), str(tmp_path / "out"), "group", *QUICK]
    done = subprocess.run(command, env=no_network, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 5, done.stderr
    assert re.search(r"is full: \S+\.np[yz] could not be written", done.stderr)
    code, text = run(maps, tmp_path / "out", "group", *QUICK, env=no_network)
    assert code == 0, text
