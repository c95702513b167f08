"""Templates and atlases: packaged ones by name, other templates through TemplateFlow, a user's atlas by its file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from migxai.errors import AtlasError, InputError, MissingDependencyError, UsageError
from migxai.io import read_tsv

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

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

#: Adult MNI152 spaces, between which AAL differs by less than its own parcels are uncertain, and Colin27, AAL's own.
MNI_SPACES = frozenset(
    {
        "MNI152Lin",
        "MNI152NLin2009aAsym",
        "MNI152NLin2009aSym",
        "MNI152NLin2009bAsym",
        "MNI152NLin2009bSym",
        "MNI152NLin2009cAsym",
        "MNI152NLin2009cSym",
        "MNI152NLin6ASym",
        "MNI152NLin6Asym",
        "MNI152NLin6Sym",
        "MNIColin27",
    }
)

_AAL_REFERENCE = "Tzourio-Mazoyer et al., NeuroImage 15:273-289, 2002, doi:10.1006/nimg.2001.0978"


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


@dataclass(frozen=True)
class Atlas:
    """A label image and what its labels are called.

    Attributes
    ----------
    name
        What stands after ``atlas-`` in the names of outputs.
    path
        The label image, 3-D, 0 is background.
    indices, names, codes
        One entry a region, in the order of `indices`, which rises; `codes` holds empty strings where there is none.
    spaces
        The spaces the atlas fits, or None for a user's atlas whose file does not name one.
    reference
        What to cite.
    """

    name: str
    path: Path
    indices: tuple[int, ...]
    names: tuple[str, ...]
    codes: tuple[str, ...]
    spaces: frozenset[str] | None
    reference: str

    @cached_property
    def data(self) -> NDArray[np.int32]:
        """Labels, shape (X, Y, Z)."""
        return _read_labels(self.path)[0]

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """Voxel to world (RAS mm), shape (4, 4)."""
        return _read_labels(self.path)[1]

    @property
    def table(self) -> pd.DataFrame:
        """One row a region: index, name, code."""
        import pandas as pd

        return pd.DataFrame({"index": self.indices, "name": self.names, "code": self.codes})

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self.indices)


def load_atlas(atlas: str | Path = "AAL", labels: Path | None = None) -> Atlas:
    """Load the packaged AAL or a user's atlas, and check it.

    Parameters
    ----------
    atlas
        ``"AAL"`` or the path of a 3-D label image.
    labels
        For a user's image: a table (tab-separated) with the columns ``index`` and ``name``, and optionally ``code``
        or ``aal_code``. Rows whose index is absent from the image are kept: their regions have no coverage.

    Returns
    -------
    Atlas

    Raises
    ------
    AtlasError
        If a file is missing or unreadable, the image is not 3-D or holds values that are no labels, a column is
        missing, an index repeats, or a label of the image has no row in the table.
    """
    if str(atlas) == "AAL":
        if labels is not None:
            raise AtlasError(f"The packaged AAL has a table of its own; {labels} needs its own image (--atlas FILE).")
        image, table = packaged("atlases", "atlas-AAL_res-1mm_dseg.nii.gz"), packaged("atlases", "atlas-AAL_dseg.tsv")
        return _load("AAL", image, table, spaces=MNI_SPACES, reference=_AAL_REFERENCE)
    image = Path(atlas)
    if labels is None:
        raise AtlasError(f"The atlas {image.name} comes without a table of its regions; give one with --atlas-labels.")
    named = re.search(r"(?:^|_)atlas-([A-Za-z0-9]+)", image.name)
    name = named.group(1) if named else re.sub(r"[^A-Za-z0-9]", "", image.name.split(".")[0])
    if not name:
        raise AtlasError(f"No name can be made from the atlas file {image.name}; call it atlas-<name>_dseg.nii.gz.")
    return _load(name, image, labels, spaces=_spaces_of(image), reference=f"atlas given by the user: {image.name}")


def check_space(atlas: Atlas, space: str) -> None:
    """Raise `AtlasError` if the atlas declares its spaces and the data's (with or without a cohort) is none of them."""
    if atlas.spaces is not None and space not in atlas.spaces:
        fits = "any adult MNI152 space" if atlas.spaces == MNI_SPACES else ", ".join(sorted(atlas.spaces))
        raise AtlasError(
            f"The atlas {atlas.name} fits {fits}, not the data's space {space}; choose another space (--space) or "
            "an atlas made for it (--atlas, --atlas-labels)."
        )


def _spaces_of(image: Path) -> frozenset[str] | None:
    """Spaces according to the file's name: all adult MNI152 ones are interchangeable at an atlas's precision."""
    found = re.search(r"(?:^|_)(?:space|tpl)-([A-Za-z0-9]+)", image.name)
    if found is None:
        return None
    return MNI_SPACES if found.group(1) in MNI_SPACES else frozenset({found.group(1)})


def _load(name: str, image: Path, table: Path, *, spaces: frozenset[str] | None, reference: str) -> Atlas:
    import numpy as np

    indices, names, codes = _read_table(table)
    atlas = Atlas(name, image, indices, names, codes, spaces, reference)
    present = np.unique(atlas.data)
    unknown = sorted(set(present[present != 0].tolist()) - set(indices))
    if unknown:
        shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise AtlasError(f"{image.name} holds labels that {table.name} has no row for: {shown}.")
    if not set(present.tolist()) & set(indices):
        raise AtlasError(f"{image.name} holds none of the regions that {table.name} lists.")
    return atlas


def _read_table(path: Path) -> tuple[tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    try:
        table = read_tsv(path).fillna("")
    except InputError as error:
        raise AtlasError(f"The atlas table {error}") from error
    columns = list(table)
    for column in ("index", "name"):
        if column not in columns:
            raise AtlasError(f"The atlas table {path.name} has no column {column!r} (tab-separated; has: {columns}).")
    code = next((column for column in ("code", "aal_code") if column in columns), None)
    regions: dict[int, tuple[str, str]] = {}
    for number, row in enumerate(table.to_dict("records"), start=2):
        try:
            index = int(row["index"])
        except (TypeError, ValueError) as error:
            raise AtlasError(f"{path.name}, line {number}: index {row['index']!r} is no whole number.") from error
        if not row["name"]:
            raise AtlasError(f"{path.name}, line {number}: the region {index} has no name.")
        if index in regions:
            raise AtlasError(f"{path.name}, line {number}: the index {index} stands there twice.")
        regions[index] = (row["name"], (row[code] or "") if code else "")
    # Index 0 is the background, which some tables list.
    regions.pop(0, None)
    if not regions:
        raise AtlasError(f"The atlas table {path.name} lists no region.")
    indices = tuple(sorted(regions))
    return indices, tuple(regions[index][0] for index in indices), tuple(regions[index][1] for index in indices)


def _read_labels(path: Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    import nibabel as nib
    import numpy as np

    try:
        image: Any = nib.load(path)
        # A clipped file opens and fails only when it is read to its end.
        data = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise AtlasError(f"The atlas image {path} cannot be read: {error}") from error
    data = data.reshape(data.shape[:3]) if data.ndim == 4 and data.shape[3] == 1 else data
    if data.ndim != 3:
        raise AtlasError(f"The atlas image {path.name} has the shape {data.shape}; a 3-D image of labels is needed.")
    if not np.isfinite(data).all():
        raise AtlasError(f"The atlas image {path.name} holds values that are not finite.")
    labels = np.rint(data).astype(np.int32)
    if not np.array_equal(labels, data) or labels.min() < 0:
        raise AtlasError(
            f"The atlas image {path.name} holds values that are no labels (fractions or negative numbers); resample "
            "it with nearest-neighbour interpolation."
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    labels.flags.writeable = False
    return labels, affine
