"""Small BIDS datasets, raw and as fMRIPrep writes them, made anew for each test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

RAW_DESCRIPTION = {"Name": "Headache Centre A", "BIDSVersion": "1.10.0", "DatasetType": "raw"}


def save_image(path: Path, shape: tuple[int, ...], *, repetition_time: float = 2.0, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int16)
    image = nib.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    if len(shape) == 4:
        image.header["pixdim"][4] = repetition_time
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    image.to_filename(path)
    return path


def save_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def image() -> Callable[..., Path]:
    return save_image


@pytest.fixture
def as_json() -> Callable[..., Path]:
    return save_json


@pytest.fixture
def raw(tmp_path: Path) -> Callable[..., Path]:
    """A raw dataset: `runs` maps a subject's label to the middles of its BOLD names."""

    def make(runs: dict[str, list[str]] | None = None, *, t1w: bool = True, extension: str = ".nii.gz") -> Path:
        root = tmp_path / "bids"
        save_json(root / "dataset_description.json", RAW_DESCRIPTION)
        (root / "README").write_text(
            "A made-up dataset for tests, with one resting run and a T1w for each person.\n" * 4
        )
        for label, middles in (runs or {"01": ["task-rest"], "02": ["task-rest"], "10": ["task-rest"]}).items():
            for middle in middles:
                session = f"ses-{middle.split('_')[0][4:]}" if middle.startswith("ses-") else ""
                folder = root / f"sub-{label}" / session
                save_image(folder / "func" / f"sub-{label}_{middle}_bold{extension}", (4, 4, 3, 6))
                task = next(part for part in middle.split("_") if part.startswith("task-"))
                save_json(root / f"{task}_bold.json", {"RepetitionTime": 2.0, "TaskName": task[5:]})
                if t1w:
                    name = "_".join(part for part in (f"sub-{label}", session, f"T1w{extension}") if part)
                    save_image(folder / "anat" / name, (5, 5, 5))
        lines = ["participant_id\tage\tSex\thamd-24\tname\tgroup"]
        labels = sorted(runs or ["01", "02", "10"])
        lines += [f"sub-{label}\t{30 + n}\tF\t{n}\tJane{n}\tHC" for n, label in enumerate(labels)]
        (root / "participants.tsv").write_text("\n".join(lines) + "\n")
        return root

    return make


@pytest.fixture
def fmriprep(tmp_path: Path) -> Callable[..., Path]:
    """An fMRIPrep dataset: `spaces` are the middles between the run's name and desc-preproc."""

    def make(
        spaces: tuple[str, ...] = ("space-MNI152NLin2009cAsym",),
        *,
        labels: tuple[str, ...] = ("01", "02"),
        runs: tuple[str, ...] = ("task-rest",),
        desc: str = "preproc",
        suffix: str = "timeseries",
        mask: bool = True,
        description: dict[str, Any] | None = None,
    ) -> Path:
        root = tmp_path / "prep"
        made_by = {"GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.0", "Container": {"Tag": "/home/me/x.sif"}}]}
        about = {"Name": "fMRIPrep - outputs", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
        save_json(root / "dataset_description.json", description or about | made_by)
        for label in labels:
            folder = root / f"sub-{label}" / "func"
            for run in runs:
                for space in spaces:
                    stem = f"sub-{label}_{run}_{space}"
                    save_image(folder / f"{stem}_desc-{desc}_bold.nii.gz", (4, 4, 3, 6))
                    save_json(folder / f"{stem}_desc-{desc}_bold.json", {"RepetitionTime": 2.0})
                    if mask:
                        save_image(folder / f"{stem}_desc-brain_mask.nii.gz", (4, 4, 3))
                table = "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\tcsf\twhite_matter\n" + "0\t" * 7 + "1\n"
                (folder / f"sub-{label}_{run}_desc-confounds_{suffix}.tsv").write_text(table)
        return root

    return make
