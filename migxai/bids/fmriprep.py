"""Find and read what fMRIPrep made: preprocessed runs in an MNI152 space, with their masks and confounds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migxai.bids.layout import functional_files, generated_by, inherited_metadata, require_content
from migxai.bids.names import BIDSName, bids_uri, derivative_name, parse_name, run_entities
from migxai.config import Preprocessing
from migxai.errors import InputError, UsageError
from migxai.io import display_name, read_tsv

if TYPE_CHECKING:
    import pandas as pd

#: The order in which spaces are taken when nobody chose one; any other MNI152 space comes after these.
SPACES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym", "MNI152NLin2009cSym", "MNI152NLin6Sym", "MNI152Lin")

#: The order of resolutions: none and ``native`` are the BOLD's own, the next best is 2 mm (far smaller than 1 mm).
RESOLUTIONS = (None, "native", "2", "02", "3", "03", "1", "01")

PREPROCESSED = "preproc"

#: What ICA-AROMA (in fMRIPrep until 23.0, in fMRIPost-AROMA since) makes, and whether it smoothed; best first.
AROMA: Mapping[str, bool] = {
    "nonaggrDenoised": False,
    "orthaggrDenoised": False,
    "aggrDenoised": False,
    "smoothAROMAnonaggr": True,
}

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")

#: Names of fMRIPrep before 1.2, and what they are called since.
_OLD_NAMES = {
    "X": "trans_x",
    "Y": "trans_y",
    "Z": "trans_z",
    "RotX": "rot_x",
    "RotY": "rot_y",
    "RotZ": "rot_z",
    "WhiteMatter": "white_matter",
    "CSF": "csf",
    "GlobalSignal": "global_signal",
    "FramewiseDisplacement": "framewise_displacement",
    "stdDVARS": "std_dvars",
    "non-stdDVARS": "dvars",
    "RMSD": "rmsd",
}
_NON_STEADY = re.compile(r"non_?steady_?state_?outlier_?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class FmriprepRun:
    """One run as fMRIPrep left it; `aroma` says it is denoised already, `smoothed` that it is smoothed already."""

    entities: dict[str, str]
    bold: Path
    mask: Path | None
    boldref: Path | None
    confounds: Path
    space: str
    resolution: str | None
    metadata: dict[str, Any]
    sources: tuple[str, ...]
    aroma: bool = False
    smoothed: bool = False
    messages: tuple[str, ...] = ()


def is_fmriprep(description: Mapping[str, Any]) -> bool:
    """Whether fMRIPrep made a dataset, by its dataset_description.json."""
    return any(str(entry.get("Name", "")).lower() == "fmriprep" for entry in generated_by(description))


def choose_space(root: Path, task: str, preprocessing: Preprocessing) -> tuple[str, str | None, tuple[str, ...]]:
    """Choose one space and resolution (None: the names have no ``res-``) for all subjects; with messages.

    The whole dataset is looked at, by file names alone, so that every job of an array chooses alike. If no space is
    asked for, it is the one that most subjects have, the order of `SPACES` deciding between equals. Raises `UsageError`
    if what is asked for is not there, and `InputError` if there is no volume in an MNI152 space, or only AROMA-denoised
    ones that nobody asked for.
    """
    found = _spaces(root, task, tuple(AROMA) if preprocessing.use_aroma else (PREPROCESSED,))
    if not found:
        _refuse_without_volumes(root, task, use_aroma=preprocessing.use_aroma)
    wanted, _, modifier = (preprocessing.space or "").partition(":")
    messages = []
    spaces = sorted(found, key=lambda space: (-len(set().union(*found[space].values())), _rank(space, SPACES), space))
    if wanted and wanted not in found:
        raise UsageError(f"The fMRIPrep dataset has no space {wanted!r}; available: {', '.join(spaces)}.")
    space = wanted or spaces[0]
    offered = found[space]
    labels = sorted(offered, key=lambda res: (-len(offered[res]), _rank(res, RESOLUTIONS), res or ""))
    if modifier:
        asked = modifier.removeprefix("res-")
        chosen = next((res for res in labels if (res or "native") == asked), "missing")
        if chosen == "missing":
            names = ", ".join(res or "native" for res in labels)
            raise UsageError(f"The fMRIPrep dataset has no res-{asked} in {space}; available: {names}.")
    else:
        chosen = labels[0]
    if (not wanted and len(spaces) > 1) or (not modifier and len(labels) > 1):
        others = sorted(f"{name}:res-{res or 'native'}" for name in found for res in found[name])
        own = f"{space}:res-{chosen or 'native'}"
        messages.append(f"fMRIPrep offers {', '.join(others)}; {own} is used (--space chooses another).")
    return space, chosen, tuple(messages)


def _rank(value: str | None, order: Sequence[str | None]) -> int:
    return order.index(value) if value in order else len(order)


def _spaces(root: Path, task: str, descs: Sequence[str]) -> dict[str, dict[str | None, set[str]]]:
    """Which subjects have which MNI152 space at which resolution."""
    found: dict[str, dict[str | None, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in functional_files(root, "*_bold.nii*"):
        name = parse_name(path)
        if name is None or name.entities.get("task") != task or name.entities.get("desc") not in descs:
            continue
        space = name.entities.get("space", "")
        if space.startswith("MNI152"):
            found[space][name.entities.get("res")].add(name.entities.get("sub", ""))
    return {space: dict(resolutions) for space, resolutions in found.items()}


def _refuse_without_volumes(root: Path, task: str, *, use_aroma: bool) -> None:
    if use_aroma:
        raise InputError(
            f"The fMRIPrep dataset has no AROMA-denoised run of task-{task} in an MNI152 space; go without --use-aroma."
        )
    if _spaces(root, task, tuple(AROMA)):
        raise InputError(
            "The fMRIPrep dataset offers only runs that AROMA has denoised already, which would be denoised twice; "
            "use them with --use-aroma, or provide the desc-preproc runs."
        )
    raise InputError(
        f"The fMRIPrep dataset has no volume of task-{task} in an MNI152 space; "
        "run fMRIPrep with --output-spaces MNI152NLin2009cAsym."
    )


def refuse_ancient(root: Path) -> None:
    """Raise `InputError` where names are those that fMRIPrep gave before its version 1.2."""
    ancient = functional_files(root, "*_bold_space-*_preproc.nii*")
    if ancient:
        raise InputError(
            f"{ancient[0].name} is named as fMRIPrep did before version 1.2, which migxai does not read; "
            "run a present fMRIPrep on the raw data."
        )


def collect_fmriprep(
    images: Sequence[tuple[Path, BIDSName]], root: Path, *, space: str, resolution: str | None, use_aroma: bool
) -> tuple[FmriprepRun, ...]:
    """Put together a subject's runs, out of its BOLD images of any space, in the one that `choose_space` chose.

    With `use_aroma` they are the AROMA-denoised runs and no others. Raises `InputError` if the subject has no run
    there, or one has no confounds or no content.
    """
    in_space = [
        (path, name)
        for path, name in images
        if name.entities.get("space") == space and name.entities.get("res") == resolution
    ]
    descs = list(AROMA) if use_aroma else [PREPROCESSED]
    best: dict[tuple[tuple[str, str], ...], tuple[int, Path, BIDSName]] = {}
    for path, name in in_space:
        desc = name.entities.get("desc", "")
        if desc in descs:
            key = tuple(run_entities(name.entities).items())
            candidate = (descs.index(desc), path, name)
            best[key] = min(best.get(key, candidate), candidate, key=lambda item: (item[0], item[1].as_posix()))
    if not best:
        label = f"{space}:res-{resolution or 'native'}"
        kind = "AROMA-denoised" if use_aroma else "desc-preproc"
        raise InputError(f"no {kind} run in {label} fits the selection; the other subjects are read from there.")
    return tuple(_fmriprep_run(path, name, root) for _, path, name in best.values())


def _fmriprep_run(path: Path, name: BIDSName, root: Path) -> FmriprepRun:
    require_content(path, root)
    entities = run_entities(name.entities)
    template = {key: value for key, value in name.entities.items() if key != "desc"}
    confounds = _first(
        path.parent,
        [derivative_name({**entities, "desc": "confounds"}, suffix, ".tsv") for suffix in ("timeseries", "regressors")],
    )
    if confounds is None:
        raise InputError(f"{display_name(path, root)} has no table desc-confounds_timeseries.tsv beside it.")
    require_content(confounds, root)
    mask = _first(path.parent, _images({**template, "desc": "brain"}, "mask"))
    boldref = _first(path.parent, _images(template, "boldref"))
    desc = name.entities["desc"]
    messages = []
    if mask is None:
        messages.append(f"{path.name} has no brain mask beside it; one is made from the series.")
    if desc in AROMA:
        messages.append(f"{path.name} has been denoised by AROMA{' and smoothed' if AROMA[desc] else ''} already.")
    used = [item for item in (path, mask, confounds) if item is not None]
    return FmriprepRun(
        entities=entities,
        bold=path,
        mask=mask,
        boldref=boldref,
        confounds=confounds,
        space=name.entities["space"],
        resolution=name.entities.get("res"),
        metadata=inherited_metadata(path, root),
        sources=tuple(bids_uri(item, root, "fmriprep") for item in used),
        aroma=desc in AROMA,
        smoothed=AROMA.get(desc, False),
        messages=tuple(messages),
    )


def _images(entities: Mapping[str, str], suffix: str) -> list[str]:
    return [derivative_name(entities, suffix, extension) for extension in (".nii.gz", ".nii")]


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def read_confounds(path: Path) -> pd.DataFrame:
    """Read a confounds table of fMRIPrep: a row for each volume, float64, NaN for ``n/a``.

    Columns stand under today's names (``trans_x`` to ``rot_z`` in mm and radians, ``white_matter``, ``csf``,
    ``global_signal``, ``framewise_displacement``, ``dvars``, ``std_dvars``, ``rmsd``,
    ``non_steady_state_outlier00``...), others as they are. Raises `InputError` if the table cannot be read, has no row,
    lacks a motion parameter, or holds text where numbers belong.
    """
    table = read_tsv(path).rename(columns=_canonical)
    if table.empty:
        raise InputError(f"{path.name} has no row; run fMRIPrep again for this run.")
    missing = [name for name in MOTION if name not in table]
    if missing:
        raise InputError(f"{path.name} lacks the motion parameters {', '.join(missing)}.")
    if table.columns.duplicated().any():
        raise InputError(f"{path.name} has the column {table.columns[table.columns.duplicated()][0]} twice.")
    try:
        return table.mask(table.isin(["n/a", "nan", "NaN", ""])).astype("float64")
    except (ValueError, TypeError) as error:
        raise InputError(f"{path.name} holds text where numbers belong: {error}.") from error


def _canonical(name: str) -> str:
    match = _NON_STEADY.fullmatch(name)
    if match:
        return f"non_steady_state_outlier{int(match[1]):02d}"
    return _OLD_NAMES.get(name, name)


def count_non_steady_state(confounds: pd.DataFrame) -> int:
    """Count the volumes at the start outside the steady state: one more than the last that fMRIPrep marked, or 0."""
    import numpy as np

    columns = [name for name in confounds if _NON_STEADY.fullmatch(str(name))]
    volumes = np.flatnonzero((confounds[columns].to_numpy(dtype=np.float64) > 0).any(axis=1))
    return int(volumes.max()) + 1 if volumes.size else 0
