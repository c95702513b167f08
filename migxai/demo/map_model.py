"""The model behind made-up indicator maps: tissue contrast, differences between people, field of view, planted effect.

A voxel's value in subject s is ``1 + c_s (M - 1) + A u_s``, divided by its mean over what the subject covers, plus the
effect. M is the mean map, c_s a subject's own contrast between tissues (mean 1), A the amplitude of the differences
between people, and u_s a random field of unit variance. RFCS has one value a region in place of the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from migxai.data import Atlas, load_atlas, template
from migxai.demo.head import NETWORKS, FloatArray
from migxai.demo.settings import MapSettings
from migxai.errors import UsageError
from migxai.registration.masks import brain_mask_in_target, template_grid
from migxai.registration.resample import labels_on_grid
from migxai.registration.space import Volume, regrid
from migxai.signal.maps import paint, region_coverage

#: Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = float(np.sqrt(8.0 * np.log(2.0)))
#: Grid of the participant level's default output, mm.
RESOLUTION = 3.0
#: Standard deviation of the tissues' contrast between subjects.
CONTRAST_SD = 0.1
#: Variance of the random field by smoothness (FWHM, mm): whole lobes, gyri, and what is left of a scanner's noise.
FIELD = {30.0: 0.25, 9.0: 0.5, 4.0: 0.25}
#: Share of the variance (noise aside) that ALFF and ReHo of a subject have in common.
COMMON = 0.5
#: A second and further scanner shifts maps by a smooth pattern of this size, in units of the spread between subjects.
SITE_SHIFT = 0.5
#: Standard deviations of RFCS: of a subject's level, and of a region around it; and the mean level.
RFCS_LEVEL_SD, RFCS_REGION_SD, RFCS_MEAN = 0.03, 0.03, 0.28
#: RFCS of a region is missing where less of it is covered; as at the participant level.
MIN_COVERAGE = 0.5

#: For the voxel-wise indicators: value in white matter, what grey matter and fluid add, and amplitude A over M.
_TISSUES = {"alff": (0.70, 0.55, 0.35, 0.18), "reho": (0.75, 0.60, -0.05, 0.14)}
#: What networks add to the mean maps (and a third of it to RFCS): the brain at rest is not alike everywhere.
_NETWORK_OFFSETS = {"default": 0.25, "visual": 0.3, "control": 0.15, "motor": 0.05, "limbic": -0.2, "cerebellum": -0.1}
#: Streams of random numbers: leaving an indicator out leaves the others as they are.
_STREAMS = {"alff": 1, "reho": 2, "rfcs": 3, "common": 4, "view": 5, "site": 6}


@dataclass(frozen=True)
class Ground:
    """What all subjects share, on the grid of the participant level's output, (X, Y, Z).

    That is the template's brain, the labels of AAL, and each indicator's mean map and standard deviation between
    subjects, zero outside the brain. `affine` takes voxels to MNI (RAS mm).
    """

    affine: NDArray[np.float64]
    brain: NDArray[np.bool_]
    labels: NDArray[np.int32]
    mean: dict[str, FloatArray]
    spread: dict[str, FloatArray]


@lru_cache(maxsize=1)
def ground() -> Ground:
    """Build the ground (about a second, once a process)."""
    mask = _template("mask")
    affine, shape = template_grid(mask.affine, mask.shape, RESOLUTION)
    brain = brain_mask_in_target(mask, affine, shape)
    atlas = aal()
    labels = labels_on_grid(atlas.data, atlas.affine, shape, affine)
    tissues = [smooth(regrid(_template(name), affine, shape).data, 3.0) for name in ("GM", "CSF")]
    offsets = smooth(paint(network_offsets(), labels, atlas.indices), 8.0)
    mean, spread = {}, {}
    for stat, (white, grey, fluid, amplitude) in _TISSUES.items():
        values = white + grey * tissues[0] + fluid * tissues[1] + offsets
        mean[stat] = np.where(brain, values / values[brain].mean(), 0.0)
        contrast = CONTRAST_SD * (mean[stat] - 1)
        spread[stat] = np.where(brain, np.hypot(amplitude * mean[stat], contrast), 0.0)
    mean["rfcs"] = paint(RFCS_MEAN + network_offsets() / 3, labels, atlas.indices)
    spread["rfcs"] = np.where(labels > 0, np.hypot(RFCS_LEVEL_SD, RFCS_REGION_SD), 0.0)
    return Ground(affine, brain, labels, mean, spread)


@lru_cache(maxsize=1)
def aal() -> Atlas:
    """Load the packaged atlas, once a process."""
    return load_atlas()


def effect_names(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the AAL regions whose names begin with one of the prefixes; UsageError if a prefix has none."""
    names = aal().names
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise UsageError(f"No AAL region begins with {prefix!r}; names look like {', '.join(names[:3])}.")
    return tuple(name for name in names if name.startswith(prefixes))


@lru_cache(maxsize=8)
def effect_map(prefixes: tuple[str, ...], stat: str) -> FloatArray:
    """Return where the effect of an indicator is, (X, Y, Z), 0 to 1, with soft edges in all but RFCS.

    The prefixes are beginnings of AAL names; none for no region at all.
    """
    atlas, model = aal(), ground()
    wanted = [index for index, name in zip(atlas.indices, atlas.names, strict=True) if name in effect_names(prefixes)]
    regions = np.isin(model.labels, wanted).astype(np.float64)
    if stat == "rfcs" or not wanted:
        return regions
    soft = smooth(regions, 6.0) * model.brain
    soft[soft < 0.05 * soft.max()] = 0.0
    result: FloatArray = soft / soft.max()
    return result


def make_maps(
    settings: MapSettings, number: int, *, share: float, site: int = 0
) -> tuple[dict[str, FloatArray], NDArray[np.bool_]]:
    """Make the maps of one subject by indicator, and the brain as far as the field of view goes, all (X, Y, Z).

    Maps are zero outside what is covered; RFCS is NaN in regions that are not. The subject's number (from 1) and the
    seed decide everything random. `share` is how much of the effect the subject has, `site` the number of the scanner,
    from 0.
    """
    model = ground()
    covered = field_of_view(_stream(settings, number, "view"))
    common = random_field(_stream(settings, number, "common"), tuple(FIELD)[:2])
    maps: dict[str, FloatArray] = {}
    for stat in settings.indicators:
        rng, scanner = _stream(settings, number, stat), _stream(settings, 0, "site", site, _STREAMS[stat])
        gain = settings.effect_size * share
        if stat == "rfcs":
            maps[stat] = _regional_map(settings, gain, rng, scanner if site else None, covered)
            continue
        mean, spread = model.mean[stat], model.spread[stat]
        contrast = 1 + CONTRAST_SD * rng.standard_normal()
        own = random_field(rng, tuple(FIELD)[:2])
        noise = random_field(rng, tuple(FIELD)[2:])
        field = np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * own + noise
        values = 1 + contrast * (mean - 1) + _TISSUES[stat][3] * mean * field
        if site:
            values = values + SITE_SHIFT * spread * random_field(scanner, (30.0,)) / np.sqrt(FIELD[30.0])
        # The effect comes after division by the mean: before it, it would lower the rest of the brain.
        values = values / values[covered].mean() + gain * spread * effect_map(settings.effect_regions, stat)
        # An amplitude or a concordance is positive.
        maps[stat] = np.where(covered, np.maximum(values, 0.01), 0.0).astype(np.float32)
    return maps, covered


def network_offsets() -> FloatArray:
    """Return what the networks add to each AAL region, in the order of the atlas, (R,)."""
    offsets = np.zeros(len(aal().names))
    for place, name in enumerate(aal().names):
        stem = name[:-2] if name.endswith(("_L", "_R")) else name
        network = next((network for network, parts in NETWORKS.items() if stem in parts), "")
        offsets[place] = _NETWORK_OFFSETS.get(network, 0.0)
    return offsets


def _regional_map(
    settings: MapSettings,
    gain: float,
    rng: np.random.Generator,
    scanner: np.random.Generator | None,
    covered: NDArray[np.bool_],
) -> FloatArray:
    atlas, model = aal(), ground()
    level = RFCS_LEVEL_SD * rng.standard_normal()
    stems = [name[:-2] if name.endswith(("_L", "_R")) else name for name in atlas.names]
    places = np.unique(stems, return_inverse=True)[1]
    # A region and its counterpart in the other hemisphere have half of the variance in common.
    both, each = rng.standard_normal(len(stems)), rng.standard_normal(len(stems))
    values = RFCS_MEAN + network_offsets() / 3 + level + RFCS_REGION_SD * (both[places] + each) / np.sqrt(2)
    if scanner is not None:
        values = values + SITE_SHIFT * RFCS_REGION_SD * scanner.standard_normal(len(stems))
    affected = np.isin(atlas.names, effect_names(settings.effect_regions))
    values = np.clip(values + gain * np.hypot(RFCS_LEVEL_SD, RFCS_REGION_SD) * affected, 0.01, 1.0)
    indices = np.asarray(atlas.indices)
    values[np.nan_to_num(region_coverage(model.labels, covered, indices)) < MIN_COVERAGE] = np.nan
    return paint(values, model.labels, indices).astype(np.float32)


def field_of_view(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw what a subject's scan covers of the brain: three in ten miss some of the bottom, two in ten of the top.

    The edges are tilted and uneven, as planes of an oblique stack are once they have been normalised.
    """
    model = ground()
    shape = model.brain.shape
    heights = np.arange(shape[2]) * RESOLUTION
    y = (np.arange(shape[1]) - shape[1] / 2)[None, :] * RESOLUTION
    occupied = np.flatnonzero(model.brain.any(axis=(0, 1)))
    covered = model.brain.copy()
    for edge, chance, deepest in ((occupied[0], 0.3, 26.0), (occupied[-1], 0.2, 12.0)):
        missing, depth, tilt = rng.random(3)
        wobble = ndimage.gaussian_filter(rng.standard_normal(shape[:2]), 4.0, mode="wrap")
        if missing >= chance:
            continue
        limit = 3.0 + (deepest - 3.0) * depth + 0.1 * (2 * tilt - 1) * y + 1.5 * wobble / wobble.std()
        covered &= np.abs(heights - heights[edge]) >= limit[:, :, None]
    return covered


def random_field(rng: np.random.Generator, widths: tuple[float, ...]) -> FloatArray:
    """Draw a Gaussian random field (X, Y, Z) with the spectrum of the sum of fields of some smoothnesses.

    The widths are their FWHM, mm; their variances are those of `FIELD`. It is as if opposite faces of the grid met,
    which lie well apart from the brain.
    """
    white = rng.standard_normal(ground().brain.shape, dtype=np.float32)
    # In one go, since the smooth fields that it stands for need not be known one by one.
    spectrum = fft.rfftn(white)
    spectrum *= _transfer(widths)
    field: FloatArray = fft.irfftn(spectrum, s=white.shape)
    return field


@lru_cache(maxsize=8)
def _transfer(widths: tuple[float, ...]) -> FloatArray:
    """Return the gain of each frequency that gives white noise the wanted spectrum, (X, Y, Z // 2 + 1)."""
    shape = ground().brain.shape
    frequencies = np.meshgrid(*(np.fft.fftfreq(n, RESOLUTION) for n in shape), indexing="ij")
    squared = sum(axis**2 for axis in frequencies)
    power = np.zeros(shape)
    for width in widths:
        # The Fourier transform of a Gaussian, squared; its mean is the variance that smoothing leaves.
        passed = np.exp(-4 * np.pi**2 * squared * (width / _FWHM) ** 2)
        power += FIELD[width] * passed / passed.mean()
    gain: FloatArray = np.sqrt(power[..., : shape[2] // 2 + 1]).astype(np.float32)
    return gain


def smooth(volume: FloatArray, width: float) -> FloatArray:
    """Smooth a volume on the ground's grid (FWHM, mm)."""
    smoothed: FloatArray = ndimage.gaussian_filter(volume, width / _FWHM / RESOLUTION)
    return smoothed


def _stream(settings: MapSettings, number: int, name: str, *more: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, number, _STREAMS[name], *more])


def _template(name: Any) -> Volume:
    import nibabel as nib

    image: Any = nib.load(template(name))
    return Volume(image.get_fdata(dtype=np.float32), image.affine)
