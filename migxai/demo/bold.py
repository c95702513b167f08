"""One demo subject's BOLD run: each slice of a moving, thinking head, sampled when the scanner comes to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from migxai.demo.activity import Activity
from migxai.demo.anatomy import Anatomy, apply, bias_field, mni_coordinates, sample
from migxai.demo.head import FloatArray, IntArray, head
from migxai.demo.settings import DemoSettings

#: Echo-planar contrast (grey matter 1) and T1 (s) of grey matter, white matter, fluid, and all that is not brain.
_SIGNAL = (1.0, 0.86, 1.35, 1.0)
_T1 = (1.3, 0.85, 3.8, 1.0)
_FLIP = np.deg2rad(70.0)
#: Thermal noise, in percent of grey matter.
THERMAL = 0.7
_LEVEL = 800.0
_FINE = 2.0


@dataclass(frozen=True)
class StillHead:
    """The head in the first volume's pose, blurred as the scanner sees it.

    `tissues` holds cubic spline coefficients of each tissue's signal in the steady state on a 2 mm grid, shape (4, X,
    Y, Z); `affine` takes voxels to the world of the BOLD run's first volume.
    """

    tissues: FloatArray
    affine: FloatArray

    def volume(self, number: int, repetition_time: float) -> FloatArray:
        """Return cubic spline coefficients of the signal in volume `number`; the first ones are not steady."""
        weights = [_saturation(t1, number, repetition_time) for t1 in _T1]
        coefficients: FloatArray = np.tensordot(np.array(weights, dtype=np.float32), self.tissues, axes=1)
        return coefficients


def still_head(anatomy: Anatomy, to_t1w: FloatArray, settings: DemoSettings, rng: np.random.Generator) -> StillHead:
    """Make the head that the run moves about; `to_t1w` takes its first volume's world to the T1w image's, (4, 4)."""
    model = head()
    bold = settings.bold_affine()
    # A margin of 10 mm around the field of view, so that motion brings in real signal.
    size = np.array(settings.bold_shape) * settings.bold_voxel + 20
    shape = tuple(int(n) for n in np.ceil(size / _FINE))
    affine = np.eye(4)
    affine[:3, :3] = bold[:3, :3] / np.array(settings.bold_voxel) * _FINE
    middle = bold[:3, :3] @ ((np.array(settings.bold_shape) - 1) / 2) + bold[:3, 3]
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    mni = mni_coordinates(anatomy, to_t1w @ affine, shape)
    factor = bias_field(shape, rng, 0.08) * np.clip(sample(model, model.signal_loss, mni), 0.05, 1)
    tissues = [
        _as_scanned(signal * factor * sample(model, volume, mni), settings)
        for signal, volume in zip(_SIGNAL, (model.gm, model.wm, model.csf, model.scalp), strict=True)
    ]
    return StillHead(np.stack(tissues), affine)


def _as_scanned(volume: FloatArray, settings: DemoSettings) -> FloatArray:
    """Blur as a scanner does, and return cubic spline coefficients.

    In the plane k-space ends (softly) at the Nyquist frequency; across it a slice has a Gaussian profile.
    """
    for axis, voxel in enumerate(settings.bold_voxel[:2]):
        # 1 up to 0.6 of the Nyquist frequency, then down to 0 as a squared cosine: a usual raw filter.
        relative = np.fft.rfftfreq(volume.shape[axis], _FINE) * 2 * voxel
        window = np.cos(np.pi / 2 * np.clip((relative - 0.6) / 0.4, 0, 1)) ** 2
        shape = [1, 1, 1]
        shape[axis] = -1
        spectrum = np.fft.rfft(volume, axis=axis) * window.reshape(shape)
        volume = np.fft.irfft(spectrum, volume.shape[axis], axis=axis)
    volume = ndimage.gaussian_filter1d(volume, settings.bold_voxel[2] / _FINE / 2.355, axis=2)
    coefficients: FloatArray = ndimage.spline_filter(volume, order=3, output=np.float32, mode="nearest")
    return coefficients


def acquire(
    still: StillHead,
    activity: Activity | None,
    motion: FloatArray,
    settings: DemoSettings,
    rng: np.random.Generator,
    *,
    thermal: float = THERMAL,
) -> FloatArray:
    """Scan: a series (X, Y, Z, T), float32, with grey matter at about 800.

    The head is rigid during a volume. A slice is sampled at the moment that `DemoSettings.slice_times` gives it.
    Without activity the head only moves. `motion` takes the first volume's world to each volume's, shape (T, 4, 4);
    `thermal` is the standard deviation of each of the Rician noise's channels in percent of grey matter.
    """
    nz = settings.bold_shape[2]
    bold = settings.bold_affine()
    series = np.zeros((settings.volumes, nz, *settings.bold_shape[:2]), dtype=np.float32)
    coefficients = still.volume(settings.volumes, settings.repetition_time)
    head_voxels = _reach(still, bold, settings)

    def scan(number: int) -> None:
        early = _saturation(max(_T1), number, settings.repetition_time) > 1.0005
        source = still.volume(number, settings.repetition_time) if early else coefficients
        chain = np.linalg.inv(still.affine) @ np.linalg.inv(motion[number]) @ bold
        values = ndimage.map_coordinates(
            source, apply(chain, head_voxels), order=3, prefilter=False, mode="nearest", output=np.float32
        )
        x, y, z = head_voxels
        series[number, z, x, y] = np.clip(values, 0, None)

    _in_parallel(scan, settings.volumes)
    if activity is not None:
        _modulate(series, activity, motion, settings, head_voxels)
    if thermal > 0:
        for volume in series:
            first, second = (thermal / 100 * rng.standard_normal(volume.shape, dtype=np.float32) for _ in range(2))
            np.hypot(volume + first, second, out=volume)
    series *= _LEVEL
    return np.moveaxis(series, (0, 1), (3, 2))


def _reach(still: StillHead, bold: FloatArray, settings: DemoSettings) -> IntArray:
    """Return the voxels that the moving head may come to, shape (3, N): the rest is air."""
    chain = np.linalg.inv(still.affine) @ bold
    signal = ndimage.affine_transform(
        still.tissues.sum(axis=0), chain[:3, :3], chain[:3, 3], settings.bold_shape, order=1, mode="nearest"
    )
    return np.array(np.nonzero(ndimage.maximum_filter(signal, 5) > 0.005))


def _modulate(
    series: FloatArray, activity: Activity, motion: FloatArray, settings: DemoSettings, voxels: IntArray
) -> None:
    """Multiply each slice (T, Z, X, Y) by 1 + the change at its own moment, read where the head has moved to."""
    nz = settings.bold_shape[2]
    bold = settings.bold_affine()
    starts = np.arange(settings.volumes) * settings.repetition_time
    back = np.linalg.inv(bold) @ np.linalg.inv(motion) @ bold
    times = settings.slice_times()

    def modulate(z: int) -> None:
        low, high = max(z - 1, 0), min(z + 2, nz)
        # All of the slab is evaluated at this slice's moment: its neighbours' own moments are half a TR away.
        slab = np.moveaxis(activity.maps[:, :, low:high], -1, 0).astype(np.float64)
        change = activity.courses(starts + times[z]).T @ slab.reshape(len(slab), -1)
        change = change.reshape(settings.volumes, *slab.shape[1:])
        here = voxels[:, voxels[2] == z]
        for number, matrix in enumerate(back):
            place = apply(matrix, here) - [[0], [0], [low]]
            moved = ndimage.map_coordinates(change[number], place, order=1, mode="nearest", output=np.float32)
            series[number, z, here[0], here[1]] *= 1 + moved

    _in_parallel(modulate, nz)


def _in_parallel(work: Callable[[int], None], count: int) -> None:
    """Do independent pieces of work in threads: scipy's interpolation runs without the interpreter's lock."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for done in [pool.submit(work, number) for number in range(count)]:
            done.result()


def _saturation(t1: float, number: int, repetition_time: float) -> float:
    """Longitudinal magnetisation before pulse `number` over that of the steady state (spoiled gradient echo)."""
    relaxation = np.exp(-repetition_time / t1)
    steady = (1 - relaxation) / (1 - relaxation * np.cos(_FLIP))
    return float(1 + (1 - steady) / steady * (relaxation * np.cos(_FLIP)) ** number)
