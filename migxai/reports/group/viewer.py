"""What the page's viewer needs, packed: template, surface, atlas labels and maps, as bytes that its script unpacks.

nilearn's `view_img` was tried first: each map is a page of its own (0.4 to 1 MB, with jQuery), so nothing can link a
table to it, and two maps cannot share the template. Here a map takes some 30 kB.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.data import load_atlas
from migxai.registration.space import Volume
from migxai.reports.figures.slices import box, grey
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.map_figures import COLOUR_MAPS, PreparedMap, is_upright, load_template, resample

#: Steps of a map's values on either side of zero; 0 is kept for "no value".
_STEPS = 63
#: Grid of the template and the labels, and of the surface's points, mm.
_FINE, _COARSE = 2.0, 3.0


def pack_scene(atlas: str) -> dict[str, Any]:
    """Pack what all maps share.

    Parameters
    ----------
    atlas
        Name of the run's atlas; regions are named for the packaged one alone.

    Returns
    -------
    dict
        ``template`` and ``labels`` (volumes), ``regions`` (names by label), ``surface`` (points and normals) and
        ``colours`` (256 RGB triples of one-sided and of signed maps).
    """
    brain, mask = load_template()
    fine = resample(Volume(np.asarray(mask.data > 0, dtype=np.float32), mask.affine), _FINE)
    tones = resample(brain, _FINE, order=1)
    scene: dict[str, Any] = {
        "template": _volume(Volume(grey(np.asarray(tones.data) * (fine.data > 0.5)), fine.affine)),
        "surface": _surface(brain),
        "colours": {"signed" if signed else "plain": _lut(name) for signed, name in COLOUR_MAPS.items()},
        "labels": None,
        "regions": {},
    }
    if atlas == "AAL":
        known = load_atlas()
        labels = resample(Volume(known.data, known.affine), _FINE)
        scene["labels"] = _volume(Volume(np.asarray(labels.data, dtype=np.uint8), labels.affine))
        scene["regions"] = dict(zip(map(str, known.indices), known.names, strict=True))
    return scene


def pack_map(one: ExplainedMap, shown: PreparedMap, heading: str) -> dict[str, Any]:
    """Pack a map: its values in 63 steps up to the largest, on its own grid where that is upright.

    Parameters
    ----------
    one
        What it is.
    shown
        Its values.
    heading
        Of the group of maps it stands in.
    """
    volume = shown.volume if is_upright(shown.volume) else resample(shown.volume, _COARSE)
    data = np.nan_to_num(np.asarray(volume.data, dtype=np.float64))
    largest = float(np.abs(data).max()) or 1.0
    steps = np.round(data / largest * _STEPS)
    codes = np.where(steps == 0, 0, steps + 128).astype(np.uint8)
    return {
        "heading": heading,
        "title": one.title,
        "signed": shown.signed,
        "threshold": _short(shown.threshold),
        "limit": _short(shown.limit or 1.0),
        "largest": _short(largest),
        "scale": largest / _STEPS,
        "peak": [round(float(value)) for value in shown.peak[0]] if not shown.empty else [0, 0, 0],
        "warning": one.warning,
        "unit": one.unit,
        "volume": _volume(_cropped(Volume(codes, volume.affine))),
    }


def script_data(scene: dict[str, Any], maps: Sequence[dict[str, Any]]) -> str:
    """Write the scene and its maps as JSON that can stand inside a script element."""
    text = json.dumps({**scene, "maps": list(maps)}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # "</script>" inside a string would end the element.
    return text.replace("<", "\\u003c")


def _cropped(volume: Volume) -> Volume:
    """Leave out what lies around the brain's box."""
    lower, upper = box(load_template()[1])
    steps, first = np.diag(volume.affine)[:3], volume.affine[:3, 3]
    start = np.maximum(np.floor((lower - first) / steps).astype(int), 0)
    stop = np.minimum(np.ceil((upper - first) / steps).astype(int) + 1, volume.data.shape)
    affine = volume.affine.copy()
    affine[:3, 3] = first + steps * start
    return Volume(volume.data[tuple(slice(*ends) for ends in zip(start, stop, strict=True))], affine)


def _volume(volume: Volume) -> dict[str, Any]:
    return {
        "shape": list(volume.data.shape),
        "step": [float(value) for value in np.diag(volume.affine)[:3]],
        "origin": [float(value) for value in volume.affine[:3, 3]],
        "bytes": _packed(np.asarray(volume.data, dtype=np.uint8)),
    }


def _packed(values: NDArray[np.uint8] | NDArray[np.int8]) -> str:
    # The first axis runs fastest, as the script counts.
    return base64.b64encode(zlib.compress(values.tobytes(order="F"), 9)).decode()


def _surface(brain: Volume) -> dict[str, Any]:
    """Points on the folds of the cortex (world mm, whole numbers) and the directions they face."""
    from scipy.ndimage import binary_erosion, gaussian_filter

    data = resample(brain, _COARSE, order=1)
    tissue = np.asarray(data.data) > 0.35 * np.quantile(data.data[data.data > 0], 0.9)
    edge = tissue & ~binary_erosion(tissue)
    blurred = gaussian_filter(tissue.astype(np.float64), 1.0)
    slope = np.stack([np.gradient(blurred, axis=axis)[edge] for axis in range(3)], axis=-1)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    normals = -slope / np.where(length > 0, length, 1.0)
    points = np.argwhere(edge) * _COARSE + data.affine[:3, 3]
    return {
        "count": len(points),
        "points": _packed(np.round(points).astype(np.int8)),
        "normals": _packed(np.round(127 * normals).astype(np.int8)),
    }


def _lut(name: str) -> list[int]:
    from matplotlib import colormaps

    colours = np.round(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(int)
    return [int(value) for value in colours.ravel()]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
