"""The command line of `migxai-demo`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from migxai.cli.demo.cohort import make_cohort
from migxai.cli.demo.recipe import SMALL, Recipe
from migxai.errors import EXIT_OK, MigxaiError

_DESCRIPTION = """\
Make a BIDS cohort with known truth (OUTDIR/raw and OUTDIR/truth), then run migxai's participant level on it
(OUTDIR/migxai). No person was scanned, and the group effect is planted: the demo shows that the software works, and
says nothing about migraine. Options after -- are handed to migxai."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `migxai-demo`."""
    defaults = Recipe()
    result = argparse.ArgumentParser(prog="migxai-demo", description=_DESCRIPTION, allow_abbrev=False)
    result.add_argument("outdir", metavar="OUTDIR", type=Path, help="a new or empty directory, or a demo to go on with")
    result.add_argument("--subjects", type=_count, default=4, metavar="N", help="default: %(default)s")
    result.add_argument("--small", action="store_true", help="coarser images and 150 volumes: quick, for a first look")
    result.add_argument("--seed", type=_seed, default=defaults.seed, help="default: %(default)s")
    result.add_argument(
        "--effect-size",
        type=float,
        default=defaults.effect_size,
        metavar="X",
        help="how much stronger networks are in the patients' cuneus and precuneus (default: %(default)s; 0: none)",
    )
    result.add_argument("--data-only", action="store_true", help="stop when the data are made")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Make the demo and run the participant level on it.

    Parameters
    ----------
    argv
        Arguments without the program's name; from the command line by default.

    Returns
    -------
    int
        Exit code: as documented for `migxai`.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    own, handed_on = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    options = parser().parse_args(own)
    recipe = dataclasses.replace(
        SMALL if options.small else Recipe(), seed=options.seed, effect_size=options.effect_size
    )
    root: Path = options.outdir
    try:
        for label in make_cohort(root, recipe, options.subjects):
            _say(f"{label}: data ready ({label[4:]} of {options.subjects:02d})")
    except MigxaiError as error:
        print(f"migxai-demo: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    _say(f"Data: {root / 'raw'}   Truth: {root / 'truth'}")
    if options.data_only:
        return EXIT_OK

    from migxai.cli.main import main as migxai

    code = migxai([str(root / "raw"), str(root / "migxai"), "participant", *handed_on])
    _say(f"Results: {root / 'migxai'} (open sub-01.html)")
    _say(
        f"The demo's effect is planted: networks in the cuneus and precuneus are {options.effect_size:.0%} stronger in "
        "MWoA, and 1.5 times that in MWA, than in HC."
    )
    return code


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one subject is needed")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a seed is a whole number from 0")
    return number


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
