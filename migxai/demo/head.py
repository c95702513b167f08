"""The demo's heads: the packaged brain in a made-up skull, scalp, face and neck, deformed for each subject."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.data import load_atlas, template
from migxai.errors import MigxaiError

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

    T1-weighted intensity of the whole head (white matter at 1), the brain's mask and tissue probabilities, and for
    echo-planar images: what shows outside the brain (`scalp`, grey matter at 1), the share of signal that is left above
    the air of the sinuses and the ear canals (`signal_loss`), and where the heart beats (`vessels`, 0 to 1).
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


#: Grid of a deformation, in the upright head: distance and number of the nodes along each axis, and the first, mm.
_COARSE, _NODES, _FIRST_NODE = 8.0, 45, -176.0


@dataclass(frozen=True)
class Anatomy:
    """Where each point of a subject's head lies in MNI space.

    MNI = linear (q + displacement(q)), with q = pose^-1 (T1w world): all in RAS mm. `pose` is rigid, from the upright
    head to the T1w image's world; `linear` is size and shear, from the upright head to MNI; both are (4, 4).
    `displacement` holds cubic spline coefficients in mm on a coarse grid, shape (3, n, n, n).
    """

    pose: FloatArray
    linear: FloatArray
    displacement: FloatArray

    def to_mni(self, points: FloatArray) -> FloatArray:
        """Take points (3, ...) of the T1w image's world to MNI, mm."""
        flat = points.reshape(3, -1)
        upright = apply(np.linalg.inv(self.pose), flat)
        mni: FloatArray = apply(self.linear, upright + self._displace(upright)).reshape(points.shape)
        return mni

    def from_mni(self, points: FloatArray) -> FloatArray:
        """Take MNI points (3, N) to the T1w image's world, mm, by fixed-point iteration.

        MigxaiError if it does not come within 0.001 mm (a bug: deformations are made invertible).
        """
        target = apply(np.linalg.inv(self.linear), points)
        upright = target.copy()
        for _ in range(100):
            step = target - self._displace(upright) - upright
            upright += step
            if np.abs(step).max() < 1e-4:
                return apply(self.pose, upright)
        raise MigxaiError("The demo's deformation could not be inverted; choose another --seed.")

    def _displace(self, upright: FloatArray) -> FloatArray:
        nodes = (upright - _FIRST_NODE) / _COARSE
        return np.stack([ndimage.map_coordinates(c, nodes, order=3, prefilter=False) for c in self.displacement])


def make_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a subject's anatomy.

    The displacement is a Gaussian random field (SD 3 mm, correlated over about 3 cm) that is scaled down where needed
    to keep its Jacobian's norm under 0.7: then the map is one-to-one and fixed-point iteration inverts it.
    """
    pose = rigid(rng.uniform(-5, 5, 3), rng.uniform(-6, 6, 3) + np.array([0, 0, 4.0]))
    linear = np.eye(4)
    linear[:3, :3] = np.diag(1 / rng.uniform(0.95, 1.05, 3)) + rng.uniform(-0.02, 0.02, (3, 3)) * (1 - np.eye(3))
    fields = []
    for _ in range(3):
        noise = rng.standard_normal((_NODES, _NODES, _NODES))
        smooth = ndimage.gaussian_filter(noise, 16.0 / _COARSE, mode="wrap")
        fields.append(3.0 * smooth / smooth.std())
    field = np.stack(fields)
    jacobian = np.stack([np.stack(np.gradient(component, _COARSE)) for component in field])
    steepest = float(np.linalg.norm(jacobian.reshape(3, 3, -1), axis=(0, 1)).max())
    field *= min(1.0, 0.7 / steepest)
    # The values are kept at the nodes' spline coefficients: the field is a cubic B-spline and needs no prefilter.
    return Anatomy(pose, linear, field)


def render_t1w(
    anatomy: Anatomy, voxel: float, rng: np.random.Generator, *, noise: float = 0.035
) -> tuple[FloatArray, NDArray[np.uint8], FloatArray]:
    """Draw the T1-weighted image (white matter at about 600), the true brain mask, both (X, Y, Z), and the affine.

    `voxel` is the edge in mm, `noise` the standard deviation of the Rician noise's two channels where white matter is
    1.
    """
    model = head()
    size = np.array([192.0, 240.0, 240.0])
    shape = tuple(int(n) for n in np.rint(size / voxel))
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = np.array([-96.0, -132.0, -134.0])
    mni = mni_coordinates(anatomy, affine, shape)
    image = sample(model, model.t1w, mni)
    mask = (sample(model, model.brain, mni) > 0.5).astype(np.uint8)
    image *= bias_field(image.shape, rng, 0.12)
    first, second = (noise * rng.standard_normal(image.shape, dtype=np.float32) for _ in range(2))
    return 600 * np.hypot(image + first, second), mask, affine


def mni_coordinates(anatomy: Anatomy, affine: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return where the voxels of a grid lie in MNI space, shape (3, *shape), float32.

    The affine takes the grid's voxels to the T1w image's world. The map is so smooth that linear interpolation between
    points up to 4 mm apart is exact to 0.03 mm.
    """
    stride = np.maximum(np.floor(4.0 / np.linalg.norm(affine[:3, :3], axis=0)), 1).astype(int)
    grid = [(n - 1) // s + 2 for n, s in zip(shape, stride, strict=True)]
    coarse = anatomy.to_mni(apply(affine, np.indices(grid).reshape(3, -1) * stride[:, None]))
    return np.stack(
        [
            ndimage.affine_transform(
                axis.reshape(grid), 1 / stride, output_shape=shape, order=1, output=np.float32, mode="nearest"
            )
            for axis in coarse
        ]
    )


def bias_field(shape: tuple[int, ...], rng: np.random.Generator, amplitude: float) -> FloatArray:
    """Return a smooth multiplicative inhomogeneity around 1, with `amplitude` as its standard deviation."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    field = np.zeros(shape, dtype=np.float32)
    for order in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (0, 1, 1), (1, 0, 1)):
        x, y, z = (axis**power for axis, power in zip(axes, order, strict=True))
        field += rng.standard_normal() * (x[:, None, None] * y[None, :, None] * z[None, None, :])
    result: FloatArray = np.exp(amplitude * (field - field.mean()) / field.std()).astype(np.float32)
    return result


def sample(model: Head, volume: FloatArray, mni: FloatArray) -> FloatArray:
    """Read a volume (X, Y, Z) on the head's grid at MNI points (3, ...), mm: linearly, 0 outside, shape (...)."""
    origin = model.affine[:3, 3].astype(np.float32).reshape((3,) + (1,) * (mni.ndim - 1))
    voxels = (mni - origin) / np.float32(model.affine[0, 0])
    values: FloatArray = ndimage.map_coordinates(volume, voxels, order=1, output=np.float32)
    return values


def rigid(degrees: FloatArray, millimetres: FloatArray, centre: FloatArray | None = None) -> FloatArray:
    """Return a rigid transform, shape (4, 4): turns about x, then y, then z through `centre`, then a shift."""
    angles = np.deg2rad(degrees)
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    pivot = np.zeros(3) if centre is None else centre
    matrix[:3, 3] = pivot + millimetres - matrix[:3, :3] @ pivot
    return matrix


def apply(matrix: FloatArray, points: FloatArray | IntArray) -> FloatArray:
    """Apply an affine transform, shape (4, 4), to points, shape (3, N)."""
    moved: FloatArray = matrix[:3, :3] @ points + matrix[:3, 3:]
    return moved
