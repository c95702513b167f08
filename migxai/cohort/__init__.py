"""Who is in the group level, with which maps: tables of people, discovery, compatibility, comparisons.

For scripts: `read_maps` reads one or several migxai output directories as a table of maps with labels.

>>> from migxai.cohort import read_maps
>>> read_maps("derivatives/migxai", stat="reho")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migxai.cohort.datasets import read_maps

__all__ = ["read_maps"]


def __getattr__(name: str) -> Any:
    # Late, so that naming a file does not cost what reading a cohort does.
    if name == "read_maps":
        from migxai.cohort.datasets import read_maps

        return read_maps
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
