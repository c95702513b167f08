"""Registration by ANTs through antspyx, the second engine (extra ``ants``)."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from migxai.errors import MissingDependencyError, RegistrationError
from migxai.registration.engines import Metric, Pair, Registration
from migxai.registration.images import from_itk_field
from migxai.registration.transforms import LPS, Affine, Chain, save_transform
from migxai.registration.volume import Volume, voxel_sizes

_METRICS = {"NMI": "mattes", "NCC": "GC"}


class AntsEngine:
    """ANTs on one thread with a fixed seed, which is how its results repeat."""

    def __init__(self) -> None:
        try:
            import ants
        except ImportError as error:
            raise MissingDependencyError(
                "--registration ants needs antspyx, which is not installed: pip install 'migxai[ants]'."
            ) from error
        self._ants: Any = ants
        ants.config.set_ants_deterministic(on=True, seed_value=1)

    @property
    def name(self) -> str:
        """Name and version."""
        return f"ANTs (antspyx {version('antspyx')})"

    def rigid(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Six degrees of freedom."""
        return self._linear("Rigid", pair, start, metric)

    def affine(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Twelve degrees of freedom."""
        return self._linear("Affine", pair, start, metric)

    def _linear(self, kind: str, pair: Pair, start: Affine, metric: Metric) -> Affine:
        with tempfile.TemporaryDirectory(prefix="migxai-") as folder:
            found = self._register(kind, pair, start, folder, aff_metric=_METRICS[metric])
            return _read_affine(found["fwdtransforms"][-1])

    def deformable(self, pair: Pair, *, start: Affine, smoothness: float = 1.0) -> Registration:
        """SyN by local correlation, after `start`."""
        import SimpleITK

        with tempfile.TemporaryDirectory(prefix="migxai-") as folder:
            found = self._register(
                "SyNOnly", pair, start, folder, syn_metric="CC", syn_sampling=2, flow_sigma=3.0 * smoothness
            )
            # ANTs lists transforms in the order in which a matrix product is written: points meet the first one first.
            warp = from_itk_field(SimpleITK.ReadImage(found["fwdtransforms"][0]))
            unwarp = from_itk_field(SimpleITK.ReadImage(found["invtransforms"][-1]))
        return Registration(Chain((warp, start)), Chain((start.inverse(), unwarp)))

    def _register(self, kind: str, pair: Pair, start: Affine, folder: str, **options: Any) -> dict[str, list[str]]:
        initial = Path(folder) / "start.txt"
        save_transform(Chain((start,)), initial)
        if pair.covered is not None:
            options |= {"moving_mask": self._image(pair.covered), "mask_all_stages": True}
        try:
            found: dict[str, list[str]] = self._ants.registration(
                self._image(pair.fixed),
                self._image(pair.moving),
                type_of_transform=kind,
                initial_transform=[str(initial)],
                outprefix=str(Path(folder) / "result_"),
                random_seed=1,
                singleprecision=False,
                **options,
            )
        except RuntimeError as error:
            raise RegistrationError(f"ANTs gave up: {error}") from error
        return found

    def _image(self, volume: Volume) -> Any:
        lps, sizes = LPS @ volume.affine, voxel_sizes(volume.affine)
        return self._ants.from_numpy(
            volume.data.astype(np.float32),
            origin=lps[:3, 3].tolist(),
            spacing=sizes.tolist(),
            direction=lps[:3, :3] / sizes,
        )


def _read_affine(path: str) -> Affine:
    """Matrix of any linear ITK transform, found by where it takes the axes."""
    import SimpleITK

    itk: Any = SimpleITK
    transform = itk.ReadTransform(path)
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis, unit in enumerate(np.eye(3)):
        matrix[:3, axis] = np.array(transform.TransformPoint(tuple(unit))) - matrix[:3, 3]
    return Affine(LPS @ matrix @ LPS)
