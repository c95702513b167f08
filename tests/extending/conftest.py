"""Extensions as pip would leave them, and the real command line that finds them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def install(tmp_path) -> Callable[..., Path]:
    """Install an extension: a module of this folder, or text, and its metadata; returns the folder for `migxai`."""
    folder = tmp_path / "site"

    def make(group: str, name: str, module: str, *, text: str | None = None, version: str = "1.0") -> Path:
        """`group` is ``migxai.indicators`` or such, `name` that of the entry, `module` holds it as ``ENTRY``."""
        folder.mkdir(exist_ok=True)
        if text is None:
            shutil.copyfile(HERE / f"{module}.py", folder / f"{module}.py")
        else:
            (folder / f"{module}.py").write_text(text)
        info = folder / f"migxai_{module}-{version}.dist-info"
        info.mkdir()
        project = f"migxai-{module.replace('_', '-')}"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:ENTRY\n")
        return folder

    return make


@pytest.fixture
def migxai(tmp_path) -> Callable[..., Finished]:
    """Run the command line with what is installed in the folder of `install`."""

    def run(*arguments: object, timeout: float = 600) -> Finished:
        paths = [str(tmp_path / "site"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, "-m", "migxai", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def preprocessed(tmp_path) -> Callable[..., Path]:
    """Make what fMRIPrep would leave of people with 5 mm voxels, noise for signal: enough for every step to run."""
    from migxai.registration.space import template_brain

    def make(name: str, *labels: str, volumes: int = 120, seed: int = 0) -> Path:
        root = tmp_path / name
        shape, affine = (36, 43, 36), np.diag([5.0, 5.0, 5.0, 1.0])
        affine[:3, 3] = (-87, -123, -73)
        brain = template_brain(shape, affine)
        made_by = [{"Name": "fMRIPrep", "Version": "23.2.0"}]
        about = {"Name": name, "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": made_by}
        root.mkdir()
        (root / "dataset_description.json").write_text(json.dumps(about))
        rows = [f"sub-{label}\t{'HC' if place % 2 else 'MWoA'}" for place, label in enumerate(labels)]
        (root / "participants.tsv").write_text("\n".join(["participant_id\tgroup", *rows]) + "\n")
        for place, label in enumerate(labels):
            rng = np.random.default_rng([seed, place])
            folder = root / f"sub-{label}" / "func"
            folder.mkdir(parents=True)
            stem = f"sub-{label}_task-rest_space-MNI152NLin2009cAsym"
            shared = rng.standard_normal(volumes)
            series = 1000 + 10 * (rng.standard_normal((*shape, volumes)) + shared * rng.random((*shape, 1)))
            bold = nib.Nifti1Image(np.where(brain[..., None], series, 0).astype(np.float32), affine)
            bold.header.set_zooms((5, 5, 5, 2))
            bold.header.set_xyzt_units("mm", "sec")
            bold.to_filename(folder / f"{stem}_desc-preproc_bold.nii.gz")
            nib.Nifti1Image(brain.astype(np.uint8), affine).to_filename(folder / f"{stem}_desc-brain_mask.nii.gz")
            (folder / f"{stem}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
            columns = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "csf", "white_matter")
            table = 0.01 * rng.standard_normal((volumes, len(columns)))
            lines = ["\t".join(columns), *("\t".join(f"{value:.6f}" for value in row) for row in table)]
            (folder / f"sub-{label}_task-rest_desc-confounds_timeseries.tsv").write_text("\n".join(lines) + "\n")
        return root

    return make
