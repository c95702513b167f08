"""Templates: packaged ones by name, others through TemplateFlow when they are asked for."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Literal

from migxai.errors import MissingDependencyError, UsageError

#: The template space that migxai carries.
SPACE = "MNI152NLin2009cAsym"

TemplateName = Literal["T1w", "mask", "boldref", "GM", "WM", "CSF"]

_FILES: dict[str, str] = {
    "T1w": "desc-brain_T1w",
    "mask": "desc-brain_mask",
    "boldref": "desc-fMRIPrep_boldref",
    "GM": "label-GM_probseg",
    "WM": "label-WM_probseg",
    "CSF": "label-CSF_probseg",
}


def packaged(folder: str, name: str) -> Path:
    """Return the path of a file that comes with the package."""
    return Path(str(resources.files("migxai.data"))) / folder / name


def template(name: TemplateName) -> Path:
    """Return the path of a packaged image of MNI152NLin2009cAsym at 2 mm.

    Parameters
    ----------
    name
        ``"T1w"`` (brain only), ``"mask"``, ``"boldref"`` (EPI), or a tissue probability ``"GM"``, ``"WM"``, ``"CSF"``
        (stored 0 to 255 with the header's scale). All share one grid.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is no such packaged image.
    """
    if name not in _FILES:
        raise UsageError(f"There is no packaged template image {name!r}; packaged are {', '.join(_FILES)}.")
    return packaged("templates", f"tpl-{SPACE}_res-2mm_{_FILES[name]}.nii.gz")


def fetch_template(
    space: str,
    suffix: str = "T1w",
    *,
    desc: str | None = None,
    label: str | None = None,
    resolution: int = 2,
    download: bool = False,
) -> Path:
    """Return a TemplateFlow image that is not packaged, from the local cache or, if allowed, from the network.

    Parameters
    ----------
    space
        TemplateFlow's name of the template, such as ``"MNI152NLin6Asym"``.
    suffix, desc, label, resolution
        BIDS entities of the file wanted; `resolution` is TemplateFlow's ``res`` index.
    download
        Whether the network may be used. Without it only the cache (``TEMPLATEFLOW_HOME``) is looked at.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If the image is neither in the cache nor can be downloaded.
    MissingDependencyError
        If a download is asked for and the templateflow package is not installed.
    """
    entities = [f"tpl-{space}", f"res-{resolution:02d}"]
    entities += [f"{key}-{value}" for key, value in (("desc", desc), ("label", label)) if value is not None]
    wanted = {*entities, f"{suffix}.nii.gz"}
    home = _templateflow_home()
    for path in sorted((home / f"tpl-{space}").rglob(f"*_{suffix}.nii.gz")):
        # TemplateFlow keeps an empty file where one has not been downloaded yet.
        if set(path.name.split("_")) == wanted and path.stat().st_size > 0:
            return path
    what = f"template {space} ({', '.join(sorted(wanted - {f'tpl-{space}'}))})"
    if not download:
        raise UsageError(
            f"The {what} is neither packaged nor in the TemplateFlow cache; fetch it once on a machine with a "
            "network and point TEMPLATEFLOW_HOME to the folder that holds it."
        )
    try:
        from templateflow import api
    except ImportError as error:
        raise MissingDependencyError(f"The {what} needs the templateflow package, which is not installed.") from error
    try:
        found = api.get(space, suffix=suffix, desc=desc, label=label, resolution=resolution, extension=".nii.gz")
    # TemplateFlow raises whatever its transport raises (requests, OSError, RuntimeError): all mean the same here.
    except Exception as error:
        raise UsageError(f"TemplateFlow could not provide the {what}: {error}") from error
    paths = [Path(item) for item in (found if isinstance(found, list) else [found])]
    if len(paths) != 1:
        raise UsageError(f"TemplateFlow knows {len(paths)} files for the {what}, not one; name desc and label.")
    return paths[0]


def _templateflow_home() -> Path:
    if home := os.environ.get("TEMPLATEFLOW_HOME"):
        return Path(home)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "templateflow"
