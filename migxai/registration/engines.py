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


class Engine(Protocol):
    """A registration program. Every result is the same bits for the same images, whatever the machine's cores."""

    @property
    def name(self) -> str:
        """Name and version, for sidecars."""

    def rigid(self, moving: Volume, fixed: Volume, *, start: Affine, metric: Metric) -> Affine:
        """Six degrees of freedom; returns the map of fixed points to moving points."""

    def affine(self, moving: Volume, fixed: Volume, *, start: Affine, metric: Metric) -> Affine:
        """Twelve degrees of freedom; returns the map of fixed points to moving points."""

    def deformable(self, moving: Volume, fixed: Volume, *, start: Affine, smoothness: float = 1.0) -> Registration:
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
