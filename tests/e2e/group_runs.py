"""Small runs of the group level, and the datasets of maps that they take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

#: Whom all runs compare, on what, in how little time.
COMMON = ["--indicators", "reho", "--slices", "4", "--bootstraps", "50", "--mem-gb", "16"]
#: Two comparisons, one of three classes, in two trials of three folds.
NETWORKS = [*COMMON, "--weights", "random", "--augmentations", "1", "--epochs", "2", "--folds", "3", "--trials", "2"]
NETWORKS += ["--comparison", "hc_vs_migraine", "hc_vs_mwoa_vs_mwa", "--models", "googlenet"]
#: Checks of maps run networks over changed slices, minutes for each comparison.
NETWORKS += ["--no-sanity-checks"]
DEEP = [*NETWORKS, "--models", "svm"]
#: For runs that are about something else.
BARE = ["--no-explain"]
#: Without networks, which take torch a while to import.
QUICK = [*COMMON, "--models", "svm", "--comparison", "hc_vs_migraine", "--folds", "3", "--trials", "1"]

TABLES = ("cohort", "classes", "folds", "predictions", "metrics", "model_comparisons", "table1", "table2")


@dataclass(frozen=True)
class GroupRun:
    """One run of the command line."""

    dataset: Path
    output: Path
    code: int
    text: str

    def table(self, name: str) -> pd.DataFrame:
        return read_table(self.output / "group" / f"{name}.tsv")


@pytest.fixture(scope="session")
def maps(map_cohort, tmp_path_factory) -> Path:
    """ReHo maps of sixteen people at two sites. Copy before changing anything."""
    return copy_maps(map_cohort, tmp_path_factory.mktemp("group") / "maps")


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def copy_maps(source: Path, target: Path, indicators: tuple[str, ...] = ("reho",)) -> Path:
    """Copy a dataset of maps, with some of its indicators only."""
    wanted = tuple(f"_stat-{name}_boldmap." for name in indicators)
    for path in source.rglob("*"):
        if path.is_file() and ("_boldmap." not in path.name or any(part in path.name for part in wanted)):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return target


def map_of(dataset: Path, label: str, stat: str = "reho") -> Path:
    (path,) = (dataset / f"sub-{label}").rglob(f"*_stat-{stat}_boldmap.nii.gz")
    return path


def sidecar_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", ".json"))


def change_map(path: Path, change: Callable[[np.ndarray], np.ndarray], shift: float = 0.0) -> None:
    """Write a map anew with other values, or with its grid shifted along x (mm)."""
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += shift
    values = change(image.get_fdata(dtype=np.float32))
    nib.Nifti1Image(values.astype(np.float32), affine).to_filename(path)


def change_people(dataset: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = dataset / "participants.tsv"
    change(pd.read_csv(path, sep="\t")).to_csv(path, sep="\t", index=False, na_rep="n/a")


def start(*arguments: object, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the command line as the leader of a process group of its own."""
    command = [sys.executable, "-m", "migxai", *map(str, arguments)]
    return subprocess.Popen(
        command, env=dict(env), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read what a run says until it says these words."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"the run ended without {words!r}: {''.join(said)}")


def kill_group(process: subprocess.Popen[str], signum: int) -> None:
    """Send a signal to a run and to all that it has started."""
    os.killpg(process.pid, signum)


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
