"""Where libraries keep what they write for themselves, when the places meant for it can't be used.

Inside a container the root is often read-only, the user has no home, and ``/tmp`` is absent, full or tiny. The work
directory is then the one place that can be written, so temporary files and caches go there.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from migxai.errors import OutputError
from migxai.io import free_gb

#: Free space in GB below which a folder for temporary files counts as full: a report's figures must fit.
LEAST_TEMPORARY_GB = 0.05
#: What Python reads to choose its temporary folder, in its order.
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")


def provide_scratch(work_dir: Path, *, tidy_up: bool = False) -> list[str]:
    """Send temporary files and caches into the work directory where their own places can't be written.

    Parameters
    ----------
    work_dir
        A directory that exists and can be written.
    tidy_up
        Remove the work directory as well when this process ends, if it is empty by then.

    Returns
    -------
    list of str
        A sentence for each place that was replaced, for the log.

    Raises
    ------
    OutputError
        If nothing can be made in the work directory either.
    """
    replaced = [name for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR") if not _can_be_written(_cache(name))]
    temporary = _temporary_folder(os.environ)
    problem = _why_not(temporary)
    if not replaced and problem is None:
        return []
    scratch = _make(work_dir, tidy_up=tidy_up)
    for name in replaced:
        # One folder for each library; the children inherit it, so that what one has compiled serves the next.
        (scratch / name.lower()).mkdir()
        os.environ[name] = str(scratch / name.lower())
    sentences = [f"{name} can't be written here; {work_dir} takes its files for this run." for name in replaced]
    if problem is not None:
        os.environ.update(dict.fromkeys(_TEMPORARY, str(scratch)))
        tempfile.tempdir = None
        sentences.append(f"Temporary files go to {work_dir} for this run, since {temporary} {problem}.")
    return sentences


def _cache(name: str) -> Path:
    """Where a library would keep its cache: what the environment says, else somewhere below the home."""
    given = os.environ.get(name)
    return Path(given) if given else Path(os.environ.get("HOME") or "/")


def _temporary_folder(environment: Mapping[str, str]) -> Path:
    return Path(next((environment[name] for name in _TEMPORARY if environment.get(name)), "/tmp"))


def _why_not(folder: Path) -> str | None:
    if not _can_be_written(folder, make=False):
        return "can't be written"
    return None if free_gb(folder) >= LEAST_TEMPORARY_GB else "is full"


def _can_be_written(folder: Path, *, make: bool = True) -> bool:
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError:
        return False
    return True


def _make(work_dir: Path, *, tidy_up: bool) -> Path:
    try:
        # Jobs of an array share the work directory: each has a scratch of its own to remove.
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=work_dir))
    except OSError as error:
        raise OutputError(f"The work directory {work_dir} can't be used: {error.strerror}.") from error
    atexit.register(_remove, scratch, os.getpid(), tidy_up)
    return scratch


def _remove(scratch: Path, owner: int, tidy_up: bool) -> None:
    if os.getpid() != owner:  # a forked child that ends first
        return
    shutil.rmtree(scratch, ignore_errors=True)
    if tidy_up:
        with contextlib.suppress(OSError):  # not empty: another run is at work, or this one has left its log
            scratch.parent.rmdir()
