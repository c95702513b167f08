"""What a registration engine must be able to do, and which engines there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from migxai.registration.transforms import Affine, Chain
from migxai.registration.volume import Volume

Metric = Literal["NMI", "NCC"]


@dataclass(frozen=True, eq=False)
class Registration:
    """Both directions of one registration, as point maps (see `transforms`).

    Parameters
    ----------
    forward
        Carries the moving image to the fixed one: fixed points to moving points.
    inverse
        Carries the fixed image to the moving one: moving points to fixed points.
    """

    forward: Chain
    inverse: Chain


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images to bring together.

    Parameters
    ----------
    moving, fixed
        Images, background 0.
    covered
        Where the moving image was acquired (not 0), on its grid: beyond it nothing is known, which is not the same as
        background. None if it covers all of the brain.
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
    if name == "ants":
        from migxai.registration.ants import AntsEngine

        return AntsEngine()
    from migxai.registration.greedy import GreedyEngine

    return GreedyEngine()
