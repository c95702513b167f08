"""The head that all demo subjects are deformed from: the packaged brain in a made-up skull, scalp, face and neck."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.data import load_atlas, template

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

STEP = 2.0
_LOW = np.array([-110.0, -152.0, -150.0])
_SHAPE = (111, 139, 133)

#: Patients' networks are stronger here.
EFFECT_REGIONS = ("Cuneus_L", "Cuneus_R", "Precuneus_L", "Precuneus_R")

#: Resting networks as unions of AAL regions; each name stands for its left and right (or vermis) parts.
NETWORKS: dict[str, tuple[str, ...]] = {
    "default": ("Precuneus", "Cingulum_Post", "Angular", "Frontal_Sup_Medial", "Frontal_Med_Orb"),
    "visual": ("Calcarine", "Cuneus", "Lingual", "Occipital_Sup", "Occipital_Mid", "Occipital_Inf"),
    "motor": ("Precentral", "Postcentral", "Supp_Motor_Area", "Paracentral_Lobule"),
    "control": ("Frontal_Mid", "Frontal_Inf_Tri", "Parietal_Inf"),
    "salience": ("Insula", "Cingulum_Ant", "Cingulum_Mid"),
    "auditory": ("Heschl", "Temporal_Sup", "Rolandic_Oper", "SupraMarginal"),
    "attention": ("Parietal_Sup", "Frontal_Sup", "Frontal_Inf_Oper"),
    "temporal": ("Temporal_Mid", "Temporal_Inf", "Fusiform", "Temporal_Pole_Sup", "Temporal_Pole_Mid"),
    "limbic": ("Hippocampus", "ParaHippocampal", "Amygdala", "Rectus", "Olfactory", "Frontal_Inf_Orb"),
    "subcortical": ("Caudate", "Putamen", "Pallidum", "Thalamus"),
    "cerebellum": ("Cerebelum_Crus1", "Cerebelum_Crus2", "Cerebelum_6", "Cerebelum_7b", "Cerebelum_8", "Cerebelum_9"),
}


@dataclass(frozen=True)
class Head:
    """Volumes in MNI space on one 2 mm grid; `affine` takes voxels to MNI (RAS mm).

    Attributes
    ----------
    t1w
        T1-weighted intensity of the whole head, white matter at 1.
    gm, wm, csf
        Tissue probabilities inside the brain.
    scalp
        What an echo-planar image shows outside the brain, grey matter at 1.
    signal_loss
        Factor between 0 and 1: signal that is left above the air of the sinuses and the ear canals.
    vessels
        Where the heart beats: 0 to 1.
    """

    affine: FloatArray
    t1w: FloatArray
    brain: FloatArray
    gm: FloatArray
    wm: FloatArray
    csf: FloatArray
    scalp: FloatArray
    signal_loss: FloatArray
    vessels: FloatArray


@lru_cache(maxsize=1)
def head() -> Head:
    """Build the head (about two seconds, once a process)."""
    import nibabel as nib

    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = _LOW
    volumes: dict[str, FloatArray] = {}
    for name in ("T1w", "mask", "GM", "WM", "CSF"):
        image: Any = nib.load(template(name))
        # The template's grid is a part of this one: both have 2 mm voxels, and their origins differ by whole voxels.
        offset = np.rint((image.affine[:3, 3] - _LOW) / STEP).astype(int)
        volume = np.zeros(_SHAPE, dtype=np.float32)
        volume[tuple(slice(o, o + n) for o, n in zip(offset, image.shape, strict=True))] = image.get_fdata()
        volumes[name] = volume
    brain = volumes["mask"] > 0
    grid = np.indices(_SHAPE, dtype=np.float32) * STEP + _LOW.astype(np.float32)[:, None, None, None]
    depth = _depth_outside(brain)
    outside, scalp = _outside(grid, depth)
    # Half a voxel of blur at the brain's edge: without it the border would be sharper than any scanner draws it.
    edge = ndimage.gaussian_filter(brain.astype(np.float32), 0.5)
    white = volumes["T1w"][volumes["WM"] > 0.95].mean()
    # The template is an average with little contrast; one person's grey matter is nearer to 0.65 of the white matter.
    contrast = np.clip(volumes["T1w"] / white, 0, None) ** 1.5
    t1w = edge * contrast + (1 - edge) * outside
    rng = np.random.default_rng(1926)
    vessels = _vessels(grid, volumes["CSF"], brain, rng)
    return Head(
        affine=affine,
        t1w=t1w.astype(np.float32),
        brain=brain.astype(np.float32),
        gm=volumes["GM"],
        wm=volumes["WM"],
        csf=volumes["CSF"],
        scalp=(scalp * (1 - edge)).astype(np.float32),
        signal_loss=_signal_loss(grid),
        vessels=vessels,
    )


@lru_cache(maxsize=1)
def region_maps() -> tuple[FloatArray, FloatArray]:
    """Return where the networks (in the order of `NETWORKS`) and the effect (`EFFECT_REGIONS`) are, 0 to 1.

    Shapes are (N, X, Y, Z) and (X, Y, Z), on the grid of `head`.
    """
    atlas = load_atlas()
    centres = np.indices(_SHAPE).reshape(3, -1) * STEP + _LOW[:, None]
    voxels = np.rint(centres - atlas.affine[:3, 3:]).astype(int)  # AAL has 1 mm voxels along the same axes
    inside = ((voxels >= 0) & (voxels < np.array(atlas.data.shape)[:, None])).all(axis=0)
    labels = np.zeros(inside.shape, dtype=np.int32)
    labels[inside] = atlas.data[tuple(voxels[:, inside])]
    labels = labels.reshape(_SHAPE)
    index = dict(zip(atlas.names, atlas.indices, strict=True))

    def union(names: list[str]) -> FloatArray:
        region = np.isin(labels, [index[name] for name in names]).astype(np.float32)
        smooth: FloatArray = ndimage.gaussian_filter(region, 3.0 / STEP)
        return smooth

    networks = [union([f"{part}_{side}" for part in parts for side in "LR"]) for parts in NETWORKS.values()]
    return np.stack(networks), union(list(EFFECT_REGIONS))


def _depth_outside(brain: NDArray[np.bool_]) -> FloatArray:
    """Distance in mm from the brain's closed hull, negative inside."""
    # Closing by distance: grow the brain by 14 mm, then take 14 mm off again.
    grown = ndimage.distance_transform_edt(~brain) * STEP <= 14
    hull = ndimage.distance_transform_edt(grown) * STEP > 14
    depth = ndimage.distance_transform_edt(~hull) - ndimage.distance_transform_edt(hull)
    result: FloatArray = ndimage.gaussian_filter(depth.astype(np.float32) * STEP, 0.7)
    return result


def _outside(grid: FloatArray, depth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """T1w and EPI intensities of everything that is not brain."""
    x, y, z = grid
    rng = np.random.default_rng(1929)
    wobble = ndimage.gaussian_filter(rng.standard_normal(_SHAPE, dtype=np.float32), 6)
    wobble /= wobble.std()
    texture = ndimage.gaussian_filter(rng.standard_normal(_SHAPE, dtype=np.float32), 1.5)
    texture /= texture.std()
    skull = 2.0 + 0.4 * wobble, 8.0 + 1.2 * wobble
    skin = skull[1] + 6.0 + 0.8 * wobble
    face = 1 - np.sqrt((x / 62) ** 2 + ((y - 38) / 62) ** 2 + ((z + 62) / 72) ** 2)
    neck = 1 - np.sqrt((x / 58) ** 2 + ((y + 38) / 60) ** 2)
    neck = np.where(z < -50, neck, -1.0)
    # One surface for cranium, face and neck; the 50s turn the ellipsoids' fractions into about millimetres.
    below = np.maximum(face * 62, neck * 58)
    inside = np.maximum(skin - depth, below)
    air = inside <= 0
    t1w = np.full(_SHAPE, 0.38, dtype=np.float32) + 0.07 * texture  # muscle
    fat = (inside < 5) | (texture > 1.3)
    t1w = np.where(fat, 0.82 + 0.08 * texture, t1w)
    t1w = np.where(inside < 1.5, 0.45, t1w)  # skin
    middle = (skull[0] + skull[1]) / 2
    t1w = np.where((depth > skull[0]) & (depth <= skull[1]), 0.08, t1w)
    t1w = np.where((np.abs(depth - middle) < 1.3) & (z > -40), 0.32 + 0.06 * texture, t1w)  # marrow
    t1w = np.where(depth <= skull[0], 0.17, t1w)  # cerebrospinal fluid and dura
    for side in (-1, 1):
        eye = np.sqrt((x - side * 32) ** 2 + (y - 66) ** 2 + (z + 36) ** 2)
        t1w = np.where((eye < 20) & (depth > skull[1]), 0.75, t1w)  # orbital fat
        t1w = np.where((eye < 12) & (depth > skull[0]), 0.2, t1w)
    sinuses = np.sqrt((x / 18) ** 2 + ((y - 52) / 26) ** 2 + ((z + 52) / 20) ** 2) < 1
    throat = np.sqrt((x / 10) ** 2 + ((y + 2) / 9) ** 2) < 1
    hollow = (sinuses | (throat & (z < -80))) & (depth > skull[1])
    spine = np.sqrt((x / 16) ** 2 + ((y + 38) / 14) ** 2)
    column = (z < -72) & (spine < 1) & (depth > 2)
    t1w = np.where(column, np.where(spine < 0.45, 0.85, np.where(spine < 0.7, 0.15, 0.5)), t1w)
    t1w = np.where(air | hollow, 0.0, np.clip(t1w, 0.02, None))
    # Fat is suppressed in an echo-planar image: only a dim scalp and muscles are left.
    epi = np.where(air | hollow, 0.0, 0.10 + 0.03 * texture)
    epi = np.where((depth > skull[0]) & (depth <= skull[1]), 0.03, epi)
    epi = np.where(depth <= skull[0], 0.7, epi)
    return ndimage.gaussian_filter(t1w, 0.5), np.clip(ndimage.gaussian_filter(epi, 0.5), 0, None)


def _signal_loss(grid: FloatArray) -> FloatArray:
    """Return dropout above the sphenoid sinus and the ear canals, for T2* weighting without distortion."""
    x, y, z = grid
    left = np.ones(_SHAPE, dtype=np.float32)
    for centre, width, strength in (((0, 34, -26), (14, 16, 12), 0.75), ((-50, -14, -34), (12, 14, 10), 0.5)):
        for side in (-1, 1) if centre[0] else (1,):
            squared = sum(
                ((axis - side * c if i == 0 else axis - c) / w) ** 2
                for i, (axis, c, w) in enumerate(zip((x, y, z), centre, width, strict=True))
            )
            left *= 1 - strength * np.exp(-squared / 2)
    return left


def _vessels(grid: FloatArray, csf: FloatArray, brain: NDArray[np.bool_], rng: np.random.Generator) -> FloatArray:
    """Return pulsatility: arteries at the base, the sagittal sinus, fluid spaces, and scattered vessels."""
    x, y, z = grid
    circle = np.exp(-((x / 16) ** 2 + ((y - 2) / 20) ** 2 + ((z + 20) / 12) ** 2) / 2)
    sinus = np.exp(-((x / 4) ** 2) / 2) * (ndimage.distance_transform_edt(brain) * STEP < 10) * (y < 40) * (z > 0)
    scattered = ndimage.gaussian_filter((rng.random(_SHAPE) > 0.9985).astype(np.float32), 1.0) * 12
    pulse = 0.9 * circle + 0.6 * sinus + 0.5 * csf + np.clip(scattered, 0, 0.8)
    result: FloatArray = (np.clip(pulse, 0, 1) * brain).astype(np.float32)
    return result
