"""What a demo cohort is made of: every number that shapes it, in one frozen place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from migxai.demo.head import FloatArray


@dataclass(frozen=True)
class DemoSettings:
    """Settings of a cohort of images.

    Attributes
    ----------
    seed
        Everything random follows from it; a subject does not depend on how many others there are.
    t1w_voxel, bold_voxel, repetition_time
        mm, mm and s.
    noise
        Whether noise, physiology, drift and neural activity are put on top of the moving head.
    effect_size
        Relative increase of the resting networks' amplitude in the effect's regions: times 0 in HC, 1 in MWoA and
        1.5 in MWA.
    max_motion
        Largest translation (mm) and rotation (degrees) that an ordinary subject comes near.
    """

    seed: int = 0
    t1w_voxel: float = 1.0
    bold_shape: tuple[int, int, int] = (64, 64, 33)
    bold_voxel: tuple[float, float, float] = (3.75, 3.75, 5.0)
    volumes: int = 180
    repetition_time: float = 2.0
    noise: bool = True
    effect_size: float = 1.0
    max_motion: float = 1.5

    def slice_times(self) -> FloatArray:
        """Return when each slice is sampled, s, shape (Z,): slices 0, 2, 4, ... from the bottom, then 1, 3, 5, ..."""
        count = self.bold_shape[2]
        order = [*range(0, count, 2), *range(1, count, 2)]
        times = np.empty(count)
        times[order] = np.arange(count) * self.repetition_time / count
        # BIDS sidecars carry decimal numbers: what is written there is exactly what is applied.
        return np.round(times, 4)

    def bold_affine(self) -> FloatArray:
        """Voxel to world of the BOLD run: stored right to left, tilted by 8 degrees as a technician would."""
        tilt = np.deg2rad(-8.0)
        rotation = np.eye(3)
        rotation[1:, 1:] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
        affine = np.eye(4)
        affine[:3, :3] = rotation @ np.diag([-self.bold_voxel[0], self.bold_voxel[1], self.bold_voxel[2]])
        centre = (np.array(self.bold_shape) - 1) / 2
        affine[:3, 3] = np.array([0.0, -18.0, 8.0]) - affine[:3, :3] @ centre
        return affine


#: `--small`: as many volumes as the default nuisance model needs, on a coarser grid.
SMALL = DemoSettings(t1w_voxel=2.0, bold_shape=(42, 50, 32), bold_voxel=(5.0, 5.0, 5.0), volumes=150)


#: Strength of the effect planted in made-up maps: Cohen's d of a voxel between MWoA and HC (MWA: 1.5 times as much).
#: It was fixed before any classifier saw such maps; a change to make a result come out would make the demo worthless.
MAP_EFFECT_SIZE = 1.5


@dataclass(frozen=True)
class MapSettings:
    """Settings of a cohort of indicator maps that are made without images.

    Attributes
    ----------
    seed
        Everything random follows from it; a subject does not depend on how many others there are.
    effect_size
        Cohen's d of a voxel in the effect's regions: times 0 in HC, 1 in MWoA and 1.5 in MWA.
    effect_regions
        Beginnings of the names of AAL regions; none for no effect.
    sites
        Number of scanners; from the second on, each shifts maps by a pattern of its own.
    shuffle_labels
        Whether the groups in participants.tsv are dealt out at random: maps stay as they are, and no group differs
        from another but by chance.
    """

    seed: int = 0
    effect_size: float = MAP_EFFECT_SIZE
    effect_regions: tuple[str, ...] = ("Cuneus", "Precuneus")
    sites: int = 1
    indicators: tuple[str, ...] = ("alff", "reho", "rfcs")
    shuffle_labels: bool = False
