"""Realignment set beside antspyx and SimpleITK on one synthetic run whose motion is known.

Run: ``python tests/benchmarks/bench_realign.py [--volumes 180] [--engines migxai antspyx simpleitk] [--oblique]``.
Prints, for each engine, the root mean square over brain voxels and volumes of the distance between where the estimate
and the truth put a voxel (mm), the largest volume's, and the seconds taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from migxai.registration.realignment import realign
from migxai.registration.space import rigid_matrix


def head(shape: tuple[int, int, int], affine: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A head-like EPI at 2 mm with its affine and brain mask: folded cortex, ventricles, fall-off, a dropout."""
    fine = affine @ np.diag([*(2.0 / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))), 1.0])
    fine_shape = np.ceil(np.linalg.inv(fine)[:3, :3] @ affine[:3, :3] @ np.array(shape)).astype(int)
    grid = np.stack(np.indices(fine_shape), axis=-1) @ fine[:3, :3].T + fine[:3, 3]
    centre = (affine @ [*(np.array(shape) / 2 - 0.5), 1.0])[:3]
    x, y, z = np.moveaxis(grid - centre, -1, 0)
    rng = np.random.default_rng(seed)
    folds = ndimage.gaussian_filter(rng.standard_normal(fine_shape), 2.5)
    folds /= folds.std()
    radius = np.sqrt((x / 68) ** 2 + (y / 84) ** 2 + (z / 62) ** 2) + 0.015 * folds
    brain = radius < 1
    image = np.where(brain, 600.0 + 120.0 * np.tanh(2 * folds), 30.0)
    image = np.where(brain & (radius > 0.96), 1000.0, image)
    image = np.where(np.sqrt((np.abs(x) - 12) ** 2 / 64 + (y / 30) ** 2 + (z / 14) ** 2) < 1, 1050.0, image)
    image *= 1 - 0.7 * np.exp(-(x**2 + (y - 60) ** 2 + (z + 35) ** 2) / 400)
    image *= 1 + 0.2 * x / 70 - 0.15 * z / 60
    return ndimage.gaussian_filter(image, 0.8), fine, brain


def known_motion(n_volumes: int, seed: int = 0, millimetres: float = 1.5, degrees: float = 1.5) -> np.ndarray:
    """Smooth drifts with a few jerks, (T, 4, 4), about the isocentre; the first volume is at rest."""
    rng = np.random.default_rng(seed)
    steps = ndimage.gaussian_filter1d(rng.standard_normal((n_volumes, 6)), 2, axis=0)
    steps += (rng.random((n_volumes, 6)) < 0.02) * rng.standard_normal((n_volumes, 6)) * 3
    path = np.cumsum(steps, axis=0)
    path -= path[0]
    path /= np.abs(path).max(axis=0)
    return np.array([rigid_matrix(row) for row in path * ([millimetres] * 3 + [np.radians(degrees)] * 3)])


def synthetic_run(
    n_volumes: int, shape: tuple[int, int, int], affine: np.ndarray, *, noise: float = 10.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series (X, Y, Z, T) int16, true transforms (T, 4, 4) reference -> volume, brain voxels in mm (N, 3)."""
    image, fine, brain = head(shape, affine, seed)
    coefficients = ndimage.spline_filter(image, order=3)
    motion = known_motion(n_volumes, seed)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    rng = np.random.default_rng(seed + 1)
    series = np.empty((*shape, n_volumes), dtype=np.int16)
    for index, matrix in enumerate(motion):
        total = np.linalg.inv(fine) @ np.linalg.inv(matrix)
        where = world @ total[:3, :3].T + total[:3, 3]
        values = ndimage.map_coordinates(coefficients, where.T, order=3, prefilter=False, cval=30.0)
        values = np.hypot(values + rng.normal(0, noise, len(values)), rng.normal(0, noise, len(values)))
        series[..., index] = values.reshape(shape).round()
    inside = ndimage.map_coordinates(
        brain.astype(float), ((world - fine[:3, 3]) @ np.linalg.inv(fine)[:3, :3].T).T, order=1
    )
    return series, motion, world[inside > 0.5]


def displacement_error(estimate: np.ndarray, truth: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Root mean square distance over points for each volume (T,), after making the first volume the reference."""
    estimate = estimate @ np.linalg.inv(estimate[0])
    truth = truth @ np.linalg.inv(truth[0])
    difference = estimate - truth
    moved = np.einsum("tij,nj->tni", difference[:, :3, :3], points) + difference[:, None, :3, 3]
    return np.sqrt((moved**2).sum(axis=-1).mean(axis=-1))


def with_antspyx(series: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Rigid registration of every volume to the first by antspyx (mutual information)."""
    import ants
    import nibabel
    import SimpleITK

    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    transforms = [np.eye(4)]
    with tempfile.TemporaryDirectory() as folder:
        images = []
        for index in range(series.shape[3]):
            path = Path(folder) / "volume.nii.gz"
            nibabel.save(nibabel.Nifti1Image(series[..., index].astype(np.float32), affine), path)
            images.append(ants.image_read(str(path)))
        for image in images[1:]:
            found = ants.registration(images[0], image, type_of_transform="Rigid")
            euler = SimpleITK.ReadTransform(found["fwdtransforms"][0])
            origin = np.array(euler.TransformPoint((0.0, 0.0, 0.0)))
            columns = [np.array(euler.TransformPoint(tuple(row))) - origin for row in np.eye(3)]
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = np.array(columns).T, origin
            transforms.append(lps @ matrix @ lps)
    return np.array(transforms)


def with_simpleitk(series: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Rigid registration of every volume to the first by SimpleITK (correlation, two levels)."""
    import SimpleITK

    from migxai.registration.engines import to_itk
    from migxai.registration.space import Volume

    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    images = [to_itk(Volume(series[..., t].astype(np.float32), affine)) for t in range(series.shape[3])]
    middle = np.array(series.shape[:3]) / 2 - 0.5
    transforms = [np.eye(4)]
    transform = SimpleITK.Euler3DTransform()
    transform.SetCenter((lps @ affine @ [*middle, 1.0])[:3].tolist())
    for image in images[1:]:
        method = SimpleITK.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetOptimizerAsRegularStepGradientDescent(0.5, 1e-4, 100)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInterpolator(SimpleITK.sitkLinear)
        method.SetShrinkFactorsPerLevel([2, 1])
        method.SetSmoothingSigmasPerLevel([2.0, 1.0])
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(images[0], image)
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
        centre = np.array(transform.GetCenter())
        matrix[:3, 3] = np.array(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
        transforms.append(lps @ matrix @ lps)
    return np.array(transforms)


ENGINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "migxai": realign,
    "antspyx": with_antspyx,
    "simpleitk": with_simpleitk,
}


def main() -> None:
    """Make the run, realign it with each engine, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=int, default=180)
    parser.add_argument("--engines", nargs="+", choices=sorted(ENGINES), default=list(ENGINES))
    parser.add_argument("--oblique", action="store_true", help="a tilted, left-right flipped grid")
    options = parser.parse_args()
    affine = np.diag([3.75, 3.75, 5.0, 1.0])
    affine[:3, 3] = -118.0, -118.0, -80.0
    if options.oblique:
        affine = rigid_matrix(np.array([3.0, -4.0, 5.0, 0.3, 0.1, -0.2])) @ affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
        affine[:3, 3] = -affine[:3, :3] @ [31.5, 31.5, 16.0]
    series, truth, points = synthetic_run(options.volumes, (64, 64, 33), affine)
    realign(series[..., :2], affine)  # compile outside the clock
    print(f"{options.volumes} volumes 64x64x33, 3.75x3.75x5 mm, motion to 1.5 mm and 1.5 degrees")
    print(f"{'engine':<12}{'RMS mm':>10}{'worst mm':>10}{'seconds':>10}")
    for name in options.engines:
        try:
            begin = time.perf_counter()
            errors = displacement_error(ENGINES[name](series, affine), truth, points)
        except ImportError as error:
            print(f"{name:<12}not installed ({error.name}): pip install 'migxai[ants]'")
            continue
        rms = np.sqrt((errors**2).mean())
        print(f"{name:<12}{rms:>10.4f}{errors.max():>10.4f}{time.perf_counter() - begin:>10.1f}")


if __name__ == "__main__":
    main()
