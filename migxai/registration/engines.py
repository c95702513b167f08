"""The registration programs: what one must be able to do, and the two there are, greedy (the default) and ANTs."""

from __future__ import annotations

import io
import tempfile
import threading
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from migxai.errors import MissingDependencyError, RegistrationError
from migxai.registration.space import LPS, Affine, Chain, Field, Volume, save_transform, voxel_sizes
from migxai.signal.voxels import worker_count

Metric = Literal["NMI", "NCC"]

#: Two greedy objects at work in one process crash it.
_LOCK = threading.Lock()
_GREEDY_METRICS = {"NMI": "-m NMI", "NCC": "-m NCC 2x2x2"}
#: Greedy's affine mode sums over threads as they finish, so two runs on two threads differ; one thread is exact.
_AFFINE_THREADS = 1
#: No jitter of samples, no added noise, a seed all the same.
_REPEATABLE = "-noise 0 -seed 1 -V 0"
_ANTS_METRICS = {"NMI": "mattes", "NCC": "GC"}


@dataclass(frozen=True, eq=False)
class Registration:
    """Both directions of one registration: `forward` maps fixed points to moving points, `inverse` the other way."""

    forward: Chain
    inverse: Chain


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images to bring together, background 0.

    `covered` says where the moving one was acquired (not 0), on its grid: beyond it nothing is known, which is not the
    same as background. None if it covers all of the brain.
    """

    moving: Volume
    fixed: Volume
    covered: Volume | None = None


class Engine(Protocol):
    """A registration program. Every result is the same bits for the same images, whatever the machine's cores."""

    @property
    def name(self) -> str:
        """Name and version, for sidecars."""

    def rigid(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Six degrees of freedom; returns the map of fixed points to moving points."""

    def affine(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Twelve degrees of freedom; returns the map of fixed points to moving points."""

    def deformable(self, pair: Pair, *, start: Affine, smoothness: float = 1.0) -> Registration:
        """Diffeomorphic refinement of an affine by local correlation; `smoothness` scales its regularisation."""


def find_engine(name: Literal["greedy", "ants"]) -> Engine:
    """Return an engine by its name on the command line.

    Raises
    ------
    MissingDependencyError
        If its package is not installed.
    """
    return AntsEngine() if name == "ants" else GreedyEngine()


class GreedyEngine:
    """Greedy (Yushkevich).

    Its affine mode runs on one thread, which is the only repeatable way, its deformable mode on all: the result is the
    same.
    """

    @property
    def name(self) -> str:
        """Name and version."""
        return f"greedy {version('picsl-greedy')}"

    def rigid(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Six degrees of freedom."""
        return self._linear(pair, start, f"-dof 6 {_GREEDY_METRICS[metric]} -n 100x50x10")

    def affine(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Twelve degrees of freedom; the full grid costs most there and adds nothing before a deformable step."""
        return self._linear(pair, start, f"-dof 12 {_GREEDY_METRICS[metric]} -n 100x50x0")

    def _linear(self, pair: Pair, start: Affine, options: str) -> Affine:
        command = f"-a {options} -ia {{start}} -o result -jitter 0 -threads {_AFFINE_THREADS}"
        # Greedy's affine maps fixed RAS points to moving RAS points.
        return Affine(np.asarray(_run_greedy(command, pair, start, "result")["result"]))

    def deformable(self, pair: Pair, *, start: Affine, smoothness: float = 1.0) -> Registration:
        """Local correlation over 5x5x5 voxels, three levels."""
        command = (
            "-m NCC 2x2x2 -n 100x50x20 -it {start} -o warp -oinv unwarp -wp 0 "
            f"-s {1.732 * smoothness:.4f}vox {0.7071 * smoothness:.4f}vox -threads {worker_count()}"
        )
        result = _run_greedy(command, pair, start, "warp", "unwarp")
        # Points go through the warp (on the fixed grid) before the affine.
        warp, unwarp = from_itk_field(result["warp"]), from_itk_field(result["unwarp"])
        return Registration(Chain((warp, start)), Chain((start.inverse(), unwarp)))


def _run_greedy(command: str, pair: Pair, start: Affine, *outputs: str) -> Any:
    from picsl_greedy import Greedy3D

    images = {"fixed": to_itk(pair.fixed), "moving": to_itk(pair.moving)}
    if pair.covered is not None:
        images["covered"] = to_itk(pair.covered)
        command += " -mm covered"
    with tempfile.TemporaryDirectory(prefix="migxai-") as folder, _LOCK:
        path = Path(folder) / "start.mat"
        np.savetxt(path, start.matrix, fmt="%.17g")
        greedy = Greedy3D()
        try:
            greedy.execute(
                f"-i fixed moving {command.format(start=path)} {_REPEATABLE}",
                # Its progress would go to the terminal.
                out=io.StringIO(),
                err=io.StringIO(),
                **images,
                **dict.fromkeys(outputs),
            )
        except RuntimeError as error:
            raise RegistrationError(f"greedy gave up: {error}") from error
        return greedy


class AntsEngine:
    """ANTs through antspyx (extra ``ants``), on one thread with a fixed seed, which is how its results repeat."""

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
            found = self._register(kind, pair, start, folder, aff_metric=_ANTS_METRICS[metric])
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


def to_itk(volume: Volume) -> Any:
    """Return a SimpleITK float32 image of a volume (whose affine must have no shear)."""
    import SimpleITK

    image: Any = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.data.astype(np.float32).T))
    lps = LPS @ volume.affine
    sizes = voxel_sizes(volume.affine)
    image.SetSpacing(sizes.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / sizes).ravel().tolist())
    return image


def from_itk_field(image: Any) -> Field:
    """Return the displacement field held by a SimpleITK vector image (LPS mm)."""
    import SimpleITK

    vectors = np.moveaxis(SimpleITK.GetArrayFromImage(image), (0, 1, 2), (2, 1, 0)) * np.array([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Field(vectors.astype(np.float32), LPS @ affine)
