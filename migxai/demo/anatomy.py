"""One demo subject's anatomy: a smooth deformation of the template head, lying somewhere in the scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.demo.head import FloatArray, Head, IntArray, head
from migxai.errors import MigxaiError

_COARSE = 8.0
_LOW = -176.0
_NODES = 45


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
        nodes = (upright - _LOW) / _COARSE
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
