"""What changes over time in a demo head: networks, local fluctuations, heart, breath, drift, and how it moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from migxai.demo.anatomy import Anatomy, mni_coordinates, rigid, sample
from migxai.demo.head import NETWORKS, FloatArray, head, region_maps
from migxai.demo.settings import DemoSettings

#: Standard deviations in percent of the local signal, in pure grey matter.
NETWORK, LOCAL, GLOBAL, DRIFT = 0.8, 0.6, 0.2, 0.35


@dataclass(frozen=True)
class Activity:
    """Relative signal changes as a product: change(voxel, time) = maps(voxel, k) courses(k, time).

    Attributes
    ----------
    maps
        Shape (X, Y, Z, K) on the grid of the BOLD run, in the pose of the first volume.
    frequencies
        The frequencies of the neural fluctuations, Hz, shape (F,).
    pulse, breath
        Phase of heart and breath in radians at the moments of `clock`, shape (N,).
    clock
        Seconds from the start of the run, shape (N,).
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
