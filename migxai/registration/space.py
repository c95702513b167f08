"""Images and where they lie in the world, and maps of points from one space to another, with ITK files of them.

The convention is ITK's: a transform that carries an image *from* A *to* B (BIDS ``from-A_to-B_mode-image_xfm``) maps
*points* of B to points of A, since resampling asks for each voxel of B where in A it lies. All points and
displacements are RAS mm in memory; files are LPS mm, as ITK has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.data import TemplateName, template
from migxai.errors import ImageError, RegistrationError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image with its voxel-to-world matrix.

    Parameters
    ----------
    data
        Array (X, Y, Z).
    affine
        Voxel indices to RAS world coordinates in mm, (4, 4).

    Raises
    ------
    ImageError
        If the array is not 3-D or the affine is not an invertible (4, 4) matrix.
    """

    data: NDArray[Any]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if self.data.ndim != 3:
            raise ImageError(f"A 3-D image is needed here, but this one has shape {self.data.shape}.")
        check_affine(affine)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def voxel_sizes(self) -> FloatArray:
        """Length of the three voxel edges in mm, (3,)."""
        return voxel_sizes(self.affine)

    def with_data(self, data: NDArray[Any]) -> Volume:
        """Return other values on the same grid."""
        return Volume(data, self.affine)


def voxel_sizes(affine: FloatArray) -> FloatArray:
    """Length of a grid's three voxel edges in mm, (3,), from its voxel-to-world matrix."""
    sizes: FloatArray = np.sqrt((np.asarray(affine, dtype=np.float64)[:3, :3] ** 2).sum(axis=0))
    return sizes


def check_affine(affine: FloatArray) -> None:
    """Raise ImageError unless a voxel-to-world matrix is finite, (4, 4) and invertible."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ImageError("The image's voxel-to-world matrix (qform/sform) is not usable: fix the header.")


def crop_grid(mask: Volume, spacing: float, margin: float = 10.0) -> tuple[FloatArray, tuple[int, int, int]]:
    """Axis-aligned isotropic RAS grid (affine, shape) around a mask, with a margin in mm.

    Raises
    ------
    RegistrationError
        If the mask is empty.
    """
    indices = np.argwhere(mask.data)
    if len(indices) == 0:
        raise RegistrationError("The brain mask is empty: nothing can be registered.")
    world = indices @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    low = np.floor(world.min(axis=0) - margin)
    extent = np.ceil((world.max(axis=0) + margin - low) / spacing).astype(int) + 1
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    return affine, (int(extent[0]), int(extent[1]), int(extent[2]))


def regrid(volume: Volume, affine: FloatArray, shape: tuple[int, int, int], order: Literal[0, 1] = 1) -> Volume:
    """Sample a volume on another grid (0 outside), smoothed first along axes where the new grid is coarser."""
    from scipy import ndimage

    data: NDArray[np.float64] = np.asarray(volume.data, dtype=np.float64)
    new = voxel_sizes(affine).min()
    # Gaussian whose width makes up for the difference between the two samplings.
    sigma = np.sqrt(np.maximum(new**2 - volume.voxel_sizes**2, 0) / (8 * np.log(2))) / volume.voxel_sizes
    if order > 0 and (sigma > 0).any():
        data = ndimage.gaussian_filter(data, sigma)
    matrix = np.linalg.inv(volume.affine) @ affine
    sampled = ndimage.affine_transform(data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=order)
    return Volume(sampled.astype(np.float32), affine)


def mask_centre(mask: Volume) -> FloatArray:
    """Centre of mass of a mask in world mm, (3,)."""
    indices = np.argwhere(mask.data)
    return np.asarray(indices.mean(axis=0) @ mask.affine[:3, :3].T + mask.affine[:3, 3], dtype=np.float64)


def template_volume(name: TemplateName) -> Volume:
    """Read an image of the packaged template, scaled as its header says."""
    import nibabel

    image: Any = nibabel.load(template(name))
    return Volume(image.get_fdata(dtype=np.float32), image.affine)


def template_brain(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bring the template's brain mask onto a grid: voxels (X, Y, Z) of which at least half is brain."""
    brain: NDArray[np.bool_] = regrid(template_volume("mask"), affine, shape).data >= 0.5
    return brain


#: RAS <-> LPS: the first two axes turn round.
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AFFINE_HEADER = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
_VECTOR_INTENT = 1007


@dataclass(frozen=True, eq=False)
class Affine:
    """The point map ``x -> matrix @ x`` between RAS worlds; `matrix` is (4, 4)."""

    matrix: FloatArray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        check_affine(matrix)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    def map_points(self, points: FloatArray) -> FloatArray:
        """Map points (N, 3) in mm."""
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3], dtype=np.float64)

    def inverse(self) -> Affine:
        """Return the map the other way."""
        return Affine(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Field:
    """The point map ``x -> x + d(x)``, d interpolated linearly on a grid; beyond it the edge's value holds.

    Parameters
    ----------
    displacements
        d at the voxels, (X, Y, Z, 3), RAS mm.
    affine
        Voxel indices to RAS world, (4, 4).
    """

    displacements: NDArray[np.float32]
    affine: FloatArray

    def __post_init__(self) -> None:
        displacements = np.array(self.displacements, dtype=np.float32)
        if displacements.ndim != 4 or displacements.shape[3] != 3 or not np.isfinite(displacements).all():
            raise ImageError("A displacement field is a finite array (X, Y, Z, 3), and this one is not.")
        displacements.flags.writeable = False
        affine = np.array(self.affine, dtype=np.float64)
        check_affine(affine)
        affine.flags.writeable = False
        object.__setattr__(self, "displacements", displacements)
        object.__setattr__(self, "affine", affine)

    def map_points(self, points: FloatArray) -> FloatArray:
        """Map points (N, 3) in mm."""
        from scipy import ndimage

        to_voxel = np.linalg.inv(self.affine)
        voxels = (points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
        mapped = np.array(points, dtype=np.float64)
        for axis in range(3):
            mapped[:, axis] += ndimage.map_coordinates(
                self.displacements[..., axis], voxels, order=1, mode="nearest", output=np.float64
            )
        return mapped


@dataclass(frozen=True, eq=False)
class Chain:
    """Point maps applied one after the other, the first of `steps` first. Without steps, the identity."""

    steps: tuple[Affine | Field, ...] = ()

    def map_points(self, points: FloatArray) -> FloatArray:
        """Map points (N, 3) in mm."""
        mapped = np.array(points, dtype=np.float64)
        for step in self.steps:
            mapped = step.map_points(mapped)
        return mapped

    def then(self, following: Chain | Affine | Field) -> Chain:
        """Return this map followed by another.

        For images it reads the other way round: with T1w to template, ``a``, and BOLD to T1w, ``b``, the chain that
        carries BOLD to the template is ``a.then(b)``: template points to T1w, then T1w points to BOLD.
        """
        more = following.steps if isinstance(following, Chain) else (following,)
        return Chain(self.steps + more)


def map_points(chain: Chain, points: NDArray[Any]) -> FloatArray:
    """Map points (N, 3), RAS mm, through a chain."""
    return chain.map_points(np.asarray(points, dtype=np.float64))


def grid_points(affine: FloatArray, shape: tuple[int, int, int], mask: NDArray[np.bool_] | None = None) -> FloatArray:
    """World coordinates (N, 3) of a grid's voxels in C order, all or those in a mask."""
    indices = np.indices(shape).reshape(3, -1).T if mask is None else np.argwhere(mask)
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3], dtype=np.float64)


def as_field(chain: Chain, affine: FloatArray, shape: tuple[int, int, int]) -> Field:
    """Compose a chain into one displacement field on a grid."""
    points = grid_points(affine, shape)
    displacements = (chain.map_points(points) - points).reshape(*shape, 3)
    return Field(displacements.astype(np.float32), affine)


def save_transform(chain: Chain, path: Path) -> None:
    """Write a transform as an ITK file; the same transform always gives the same bytes.

    Parameters
    ----------
    chain
        Affines only for ``.txt`` (they are multiplied); exactly one field for ``.nii.gz`` (see `as_field`). ITK's HDF5
        composites are not offered: they record the date and the operating system of the writer.
    path
        ``.txt`` (ITK affine, LPS) or ``.nii.gz`` (5-D vector image, intent 1007, LPS mm).

    Raises
    ------
    ValueError
        If the chain does not fit the kind of file.
    """
    if path.name.endswith(".txt") and all(isinstance(step, Affine) for step in chain.steps):
        matrix = np.eye(4)
        for step in chain.steps:
            assert isinstance(step, Affine)
            matrix = step.matrix @ matrix
        matrix = LPS @ matrix @ LPS
        numbers = " ".join(repr(float(value)) for value in [*matrix[:3, :3].ravel(), *matrix[:3, 3]])
        path.write_text(f"{_AFFINE_HEADER}Parameters: {numbers}\nFixedParameters: 0 0 0\n", encoding="ascii")
    elif path.name.endswith(".nii.gz") and len(chain.steps) == 1 and isinstance(chain.steps[0], Field):
        _save_field(chain.steps[0], path)
    else:
        raise ValueError(
            f"{path.name}: .txt holds affines and .nii.gz one displacement field; compose the chain first."
        )


def _save_field(field: Field, path: Path) -> None:
    import nibabel

    vectors = field.displacements * np.array([-1, -1, 1], dtype=np.float32)
    image = nibabel.Nifti1Image(vectors[:, :, :, None, :], field.affine)
    image.header.set_intent(_VECTOR_INTENT)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def load_transform(path: Path) -> Chain:
    """Read a transform that `save_transform` or ITK wrote: an affine ``.txt`` or a displacement field.

    Raises
    ------
    ImageError
        If the file is neither.
    """
    if path.name.endswith(".txt"):
        return Chain((_load_affine(path),))
    import nibabel

    image: Any = nibabel.load(path)
    shape = image.shape
    if len(shape) != 5 or shape[3:] != (1, 3) or int(image.header["intent_code"]) != _VECTOR_INTENT:
        raise ImageError(f"{path.name} is not an ITK displacement field (5-D, intent 1007).")
    vectors = np.asarray(image.dataobj, dtype=np.float32)[:, :, :, 0] * np.array([-1, -1, 1], dtype=np.float32)
    return Chain((Field(vectors, image.affine),))


def _load_affine(path: Path) -> Affine:
    fields = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
    names = ("AffineTransform_double_3_3", "MatrixOffsetTransformBase_double_3_3")
    try:
        numbers = np.array(fields["Parameters"].split(), dtype=np.float64)
        centre = np.array(fields["FixedParameters"].split(), dtype=np.float64)
        known = fields["Transform"].strip() in names and numbers.shape == (12,) and centre.shape == (3,)
    except (KeyError, ValueError) as error:
        raise ImageError(f"{path.name} is not an ITK affine transform.") from error
    if not known:
        raise ImageError(f"{path.name} is not an ITK affine transform of three dimensions.")
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    return Affine(LPS @ matrix @ LPS)


def save_affines(matrices: NDArray[Any], path: str | Path) -> None:
    """Write a series of affines (T, 4, 4), point maps between RAS worlds, as one ITK transform file."""
    lines = ["#Insight Transform File V1.0"]
    for number, matrix in enumerate(LPS @ np.asarray(matrices, dtype=np.float64) @ LPS):
        numbers = " ".join(repr(float(value)) for value in [*matrix[:3, :3].ravel(), *matrix[:3, 3]])
        lines += [f"#Transform {number}", "Transform: AffineTransform_double_3_3", f"Parameters: {numbers}"]
        lines.append("FixedParameters: 0 0 0")
    Path(path).write_text("\n".join(lines) + "\n", encoding="ascii")


def rigid_matrix(parameters: NDArray[Any]) -> FloatArray:
    """Rigid (4, 4) matrix from three translations (mm) and three rotations (radians): T Rx Ry Rz, SPM's order."""
    tx, ty, tz, rx, ry, rz = (float(value) for value in parameters)
    cx, sx, cy, sy, cz, sz = np.cos(rx), np.sin(rx), np.cos(ry), np.sin(ry), np.cos(rz), np.sin(rz)
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_x @ about_y @ about_z
    matrix[:3, 3] = tx, ty, tz
    return matrix


def parameter_derivatives(world: FloatArray, gradient: FloatArray) -> FloatArray:
    """Chain rule: derivatives (N, 6) of a value at ``world`` as `rigid_matrix` moves it away from the identity."""
    x, y, z = world.T
    gx, gy, gz = gradient.T
    return np.column_stack([gx, gy, gz, gy * z - gz * y, gx * z - gz * x, gx * y - gy * x])
