"""Write a cohort of made-up indicator maps as a BIDS derivative dataset, and beside it the truth behind it.

The group level can be tried on it at once: nothing has to be scanned, simulated as a series, or preprocessed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from migxai import __version__
from migxai.bids.names import derivative_path
from migxai.bids.outputs import BIDS_VERSION, BIDSIGNORE, resolution_label, sidecar
from migxai.data import SPACE
from migxai.demo.image_cohort import EFFECT_SHARE, claim, demo_text, make_participant
from migxai.demo.map_model import MIN_COVERAGE, RESOLUTION, effect_map, effect_names, ground, make_maps
from migxai.demo.settings import MAP_EFFECT_SIZE, MapSettings
from migxai.errors import UsageError
from migxai.indicators.registry import INDICATORS
from migxai.io import write_json, write_nifti, write_text, write_tsv

#: Numbers of people in the paper; cohorts of any size come as near to these proportions as they can.
PROPORTIONS = {"HC": 28, "MWoA": 21, "MWA": 15}
#: Indicators that a map can be made up of.
AVAILABLE = ("alff", "reho", "rfcs")
MAX_SITES = 26


def make_map_cohort(
    root: Path,
    *,
    subjects: int = 40,
    seed: int = 0,
    effect_size: float = MAP_EFFECT_SIZE,
    effect_regions: tuple[str, ...] = ("Cuneus", "Precuneus"),
    sites: int = 1,
    indicators: tuple[str, ...] = AVAILABLE,
    shuffle_labels: bool = False,
) -> Path:
    """Make the dataset ``root/maps`` and the truth ``root/truth``, or go on where an earlier call stopped.

    Everything but `subjects`, their number, is as in `MapSettings`; the default effect, d = 1.5, was fixed before any
    classifier saw the maps. Returns the dataset, as `migxai.cohort.read_maps` and ``migxai <dataset> <output> group``
    take it. UsageError if a region or an indicator does not exist, or the number of sites is impossible; OutputError if
    `root` is anything but absent, empty or a cohort of the same settings with as many subjects or fewer, or cannot be
    written.
    """
    settings = MapSettings(seed, effect_size, effect_regions, sites, indicators, shuffle_labels)
    effect_names(effect_regions)
    unknown = [stat for stat in indicators if stat not in AVAILABLE]
    if unknown or not indicators:
        raise UsageError(f"Made-up maps can be {', '.join(AVAILABLE)}, not {', '.join(unknown) or 'none at all'}.")
    if not 1 <= sites <= MAX_SITES:
        raise UsageError(f"A made-up cohort has from 1 to {MAX_SITES} sites, not {sites}.")
    claim(root, settings, subjects)
    dataset = root / "maps"
    groups = make_groups(subjects)
    # Sites are dealt out within each group, so that no site stands for a group.
    places = [groups[:number].count(group) % sites for number, group in enumerate(groups)]
    _write_truth(root / "truth", settings, groups)
    for number, (group, site) in enumerate(zip(groups, places, strict=True), start=1):
        _write_subject(dataset, settings, number, group, site)
    _write_dataset(dataset, settings, groups, places)
    return dataset


def make_groups(subjects: int) -> list[str]:
    """Deal out groups so that any number of subjects is as near to `PROPORTIONS` as it can be."""
    total = sum(PROPORTIONS.values())
    groups: list[str] = []
    for number in range(1, subjects + 1):
        # Whoever is furthest behind is next.
        behind = {group: number * share / total - groups.count(group) for group, share in PROPORTIONS.items()}
        groups.append(max(behind, key=lambda group: behind[group]))
    return groups


def _write_dataset(dataset: Path, settings: MapSettings, groups: list[str], sites: list[int]) -> None:
    import pandas as pd

    description = {
        "Name": "migxai demo maps",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": "CC0",
        "Authors": ["The migxai developers", "migxai-demo"],
        "GeneratedBy": [_generator()],
    }
    write_json(dataset / "dataset_description.json", description)
    write_text(dataset / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")
    shuffled = " HERE THE GROUPS ARE SHUFFLED: whose maps are higher has nothing to do with them."
    text = demo_text("maps_README.txt").format(
        seed=settings.seed,
        effect=settings.effect_size,
        regions=", ".join(effect_names(settings.effect_regions)) or "(none)",
        shuffled=shuffled if settings.shuffle_labels else "",
    )
    write_text(dataset / "README", text)
    shown = groups
    if settings.shuffle_labels:
        shown = np.random.default_rng([settings.seed, 0, 0]).permutation(groups).tolist()
    rows = [
        _row(settings, number, group, site) for number, (group, site) in enumerate(zip(shown, sites, strict=True), 1)
    ]
    write_tsv(dataset / "participants.tsv", pd.DataFrame(rows))
    write_text(dataset / "participants.json", demo_text("maps_participants.json"))


def _row(settings: MapSettings, number: int, group: str, site: int) -> dict[str, Any]:
    """One row of participants.tsv; apart from the group, nothing depends on the group."""
    drawn = make_participant(number, settings.seed)
    motion = np.random.default_rng([settings.seed, number, 7]).standard_normal()
    row = dataclasses.asdict(drawn) | {"group": group, "site": chr(ord("A") + site)}
    # Median 0.12 mm: what healthy adults do.
    return row | {"mean_fd": round(float(0.12 * np.exp(0.35 * motion)), 4)}


def _write_subject(dataset: Path, settings: MapSettings, number: int, group: str, site: int) -> None:
    """Write a subject's mask and maps; the last sidecar stands only once all are there."""
    shared = {"sub": f"{number:02d}", "task": "rest", "space": SPACE, "res": resolution_label(RESOLUTION)}

    def path(suffix: str, extension: str, **more: str) -> Path:
        return dataset / derivative_path({**shared, **more}, suffix, extension)

    if path("boldmap", ".json", stat=settings.indicators[-1]).is_file():
        return
    affine = ground().affine
    maps, covered = make_maps(settings, number, share=EFFECT_SHARE[group], site=site)
    write_nifti(path("mask", ".nii.gz", desc="brain"), covered, affine, space=SPACE, dtype="uint8")
    content = _sidecar("Simulated: voxels of the brain within a made-up field of view.", Type="Brain")
    write_json(path("mask", ".json", desc="brain"), content)
    for stat, values in maps.items():
        write_nifti(path("boldmap", ".nii.gz", stat=stat), values, affine, space=SPACE)
        write_json(path("boldmap", ".json", stat=stat), _map_sidecar(stat))


def _map_sidecar(stat: str) -> dict[str, Any]:
    indicator = INDICATORS[stat]
    fields: dict[str, Any] = {"Statistic": stat, "Definition": "simulated; see the dataset's README"}
    if indicator.regional:
        what = f"Simulated {indicator.title} map, painted on the regions of AAL. No person was scanned."
        fields |= {"Normalization": "none", "Atlas": {"Name": "AAL", "MinimumCoverage": MIN_COVERAGE}}
    else:
        what = f"Simulated {indicator.title} map. No person was scanned."
        fields |= {"Normalization": "divided by its mean in the mask, before the group effect was added"}
    return _sidecar(what, **fields, SpatialReference=SPACE)


def _sidecar(description: str, **fields: Any) -> dict[str, Any]:
    return sidecar(description, resolution=RESOLUTION, Simulated=True, **fields) | {"GeneratedBy": _generator()}


def _generator() -> dict[str, str]:
    return {"Name": "migxai-demo", "Version": __version__}


def _write_truth(truth: Path, settings: MapSettings, groups: list[str]) -> None:
    model = ground()
    write_text(truth / "README.md", demo_text("maps_truth_README.md"))
    spreads = {}
    for stat in settings.indicators:
        where = effect_map(settings.effect_regions, stat)
        added = settings.effect_size * model.spread[stat] * where
        write_nifti(truth / f"maps_effect_stat-{stat}.nii.gz", added, model.affine, space=SPACE)
        inside = model.spread[stat][where > 0.5]
        spreads[stat] = float(inside.mean()) if len(inside) else None
    where = effect_map(settings.effect_regions, "reho")
    write_nifti(truth / "maps_effect.nii.gz", where, model.affine, space=SPACE)
    content = {
        "Regions": list(effect_names(settings.effect_regions)),
        "EffectSize": settings.effect_size,
        "ShareOfEffect": EFFECT_SHARE,
        "Meaning": "EffectSize * ShareOfEffect[group] standard deviations (between subjects of one group, at a voxel) "
        "are added where maps_effect.nii.gz is 1, and proportionally less where it is less.",
        "StandardDeviationInRegions": spreads,
        "LabelsShuffled": settings.shuffle_labels,
        "GroupOfEffect": {f"sub-{number:02d}": group for number, group in enumerate(groups, start=1)},
    }
    write_json(truth / "maps_effect.json", content)
