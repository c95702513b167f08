"""One demo subject's BOLD run: each slice of a moving, thinking head, sampled when the scanner comes to it.

What changes over time: networks, local fluctuations, heart, breath, drift, and where the head is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from migxai.demo.head import (
    NETWORKS,
    Anatomy,
    FloatArray,
    IntArray,
    apply,
    bias_field,
    head,
    mni_coordinates,
    region_maps,
    rigid,
    sample,
)
from migxai.demo.settings import DemoSettings

#: Echo-planar contrast (grey matter 1) and T1 (s) of grey matter, white matter, fluid, and all that is not brain.
_SIGNAL = (1.0, 0.86, 1.35, 1.0)
_T1 = (1.3, 0.85, 3.8, 1.0)
_FLIP = np.deg2rad(70.0)
#: Thermal noise, in percent of grey matter.
THERMAL = 0.7
_LEVEL = 800.0
_FINE = 2.0

#: Standard deviations in percent of the local signal, in pure grey matter.
NETWORK, LOCAL, GLOBAL, DRIFT = 0.8, 0.6, 0.2, 0.35


@dataclass(frozen=True)
class Activity:
    """Relative signal changes as a product: change(voxel, time) = maps(voxel, k) courses(k, time).

    Maps have shape (X, Y, Z, K) on the grid of the BOLD run, in the pose of the first volume. `frequencies` are those
    of the neural fluctuations, Hz, shape (F,); `pulse` and `breath` the phases of heart and breath in radians at the
    moments of `clock`, in seconds from the start of the run, all of shape (N,).
    """

    maps: FloatArray
    frequencies: FloatArray
    pulse: FloatArray
    breath: FloatArray
    clock: FloatArray

    def courses(self, times: FloatArray) -> FloatArray:
        """Evaluate the time courses at any moments (N,), in seconds from the start of the run; shape (K, N)."""
        angle = 2 * np.pi * np.outer(self.frequencies, times)
        pulse, breath = (np.interp(times, self.clock, phase) for phase in (self.pulse, self.breath))
        physiology = [np.cos(pulse), np.sin(pulse), np.cos(2 * pulse), np.cos(breath), np.sin(breath)]
        slow = times / self.clock[-1]
        drift = [2 * slow - 1, np.cos(np.pi * slow), np.cos(2 * np.pi * slow)]
        return np.concatenate([np.cos(angle), np.sin(angle), np.stack(physiology), np.stack(drift)])


def make_activity(
    anatomy: Anatomy, to_t1w: FloatArray, settings: DemoSettings, gain: float, rng: np.random.Generator
) -> Activity:
    """Draw a subject's activity; `gain` is the relative increase of the networks' amplitude where the effect is.

    Neural fluctuations have a power that falls as 1/f from 0.008 Hz and fades above 0.1 Hz. Each network has one
    course; local fluctuations are a Gaussian random field correlated over about 8 mm. Both live in grey matter.
    `to_t1w` takes the world of the BOLD run's first volume to the T1w image's, shape (4, 4).
    """
    model = head()
    mni = mni_coordinates(anatomy, to_t1w @ settings.bold_affine(), settings.bold_shape)
    grey, white, fluid, vessels = (sample(model, v, mni) for v in (model.gm, model.wm, model.csf, model.vessels))
    networks, effect = region_maps()
    duration = settings.volumes * settings.repetition_time
    # Frequencies off the run's own grid, as nature's are.
    frequencies = np.arange(1, int(0.16 * duration * 1.3)) / (1.3 * duration)
    power = 1 / np.maximum(frequencies, 0.008) / (1 + (frequencies / 0.1) ** 6)
    amplitude = np.sqrt(power / power.sum())
    terms = 2 * len(frequencies)
    weights = np.concatenate([amplitude, amplitude]).astype(np.float32)
    maps = np.empty((*settings.bold_shape, terms + 8), dtype=np.float32)
    voxels = np.array(settings.bold_voxel)
    for term in range(terms):
        field = ndimage.gaussian_filter(rng.standard_normal(settings.bold_shape, dtype=np.float32), 3.4 / voxels)
        maps[..., term] = LOCAL * weights[term] / field.std() * field
    maps[..., :terms] *= (grey + 0.1 * white)[..., None]
    boost = 1 + gain * sample(model, effect, mni)
    for volume, _ in zip(networks, NETWORKS, strict=True):
        course = weights * rng.standard_normal(terms).astype(np.float32)
        where = NETWORK * grey * boost * sample(model, volume, mni)
        maps[..., :terms] += where[..., None] * course
    maps[..., :terms] += (GLOBAL * (grey + 0.25 * white))[..., None] * (
        weights * rng.standard_normal(terms).astype(np.float32)
    )
    chest = ndimage.gaussian_filter(rng.standard_normal(settings.bold_shape, dtype=np.float32), 16.0 / voxels)
    chest = 0.2 + 0.1 * chest / chest.std() + 0.5 * fluid
    for place, strength in enumerate((1.2, 0.5, 0.4)):
        maps[..., terms + place] = strength * vessels
    maps[..., terms + 3], maps[..., terms + 4] = chest, 0.5 * chest
    for place in range(3):
        field = ndimage.gaussian_filter(rng.standard_normal(settings.bold_shape, dtype=np.float32), 40.0 / voxels)
        maps[..., terms + 5 + place] = DRIFT * (rng.standard_normal() + 0.3 * field / field.std()) / (place + 1)
    maps /= 100
    clock = np.arange(0, duration + 1, 0.05)
    pulse, breath = (_phase(clock, rate, rng) for rate in (rng.uniform(0.95, 1.3), rng.uniform(0.22, 0.33)))
    return Activity(maps, frequencies, pulse, breath, clock)


def _phase(clock: FloatArray, rate: float, rng: np.random.Generator) -> FloatArray:
    """Return the phase in radians of a rhythm whose rate wanders by some 6 %."""
    wander = ndimage.gaussian_filter1d(rng.standard_normal(clock.size), 100)
    instantaneous = rate * (1 + 0.06 * wander / wander.std())
    phase: FloatArray = 2 * np.pi * np.cumsum(instantaneous) * (clock[1] - clock[0])
    return phase


def make_motion(
    settings: DemoSettings, centre: FloatArray, rng: np.random.Generator, *, excessive: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Draw a subject's head motion: a smooth random walk, small tremor that returns, and a few lasting jerks.

    Excessive motion passes 2 mm and 2 degrees, so that the run is to be excluded. Returns matrices (T, 4, 4) that take
    world coordinates in the first volume to those in each volume, and parameters (T, 6): translations (mm) and
    rotations about x, y, z through `centre` (3,) (degrees).
    """
    steps = rng.standard_normal((settings.volumes, 6))
    path = ndimage.gaussian_filter1d(np.cumsum(steps, axis=0), 4, axis=0)
    for when in rng.integers(15, settings.volumes - 5, 3):
        path[when:] += 2.5 * rng.standard_normal(6)
    path += 0.25 * rng.standard_normal(path.shape)
    path -= path[0]
    limit = 2.2 * settings.max_motion if excessive else settings.max_motion
    # The two largest of three axes are left below the limit: one moves most, as heads do.
    peaks = np.abs(path).max(axis=0)
    reach = np.concatenate([rng.permutation([0.95, 0.5, 0.3]), rng.permutation([0.95, 0.4, 0.25])])
    shrink = 1.0 if excessive else rng.uniform(0.35, 1.0)
    parameters = path / peaks * reach * limit * shrink
    matrices = np.stack([rigid(row[3:], row[:3], centre) for row in parameters])
    return matrices, parameters


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
        list(pool.map(work, range(count)))


def _saturation(t1: float, number: int, repetition_time: float) -> float:
    """Longitudinal magnetisation before pulse `number` over that of the steady state (spoiled gradient echo)."""
    relaxation = np.exp(-repetition_time / t1)
    steady = (1 - relaxation) / (1 - relaxation * np.cos(_FLIP))
    return float(1 + (1 - steady) / steady * (relaxation * np.cos(_FLIP)) ** number)
