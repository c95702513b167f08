"""The command line of `migxai-demo`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from migxai.demo.image_cohort import EXCESSIVE, make_cohort, make_participant
from migxai.demo.settings import SMALL, DemoSettings, MapSettings
from migxai.errors import EXIT_OK, MigxaiError

_DESCRIPTION = """\
Make a cohort with known truth and run migxai on it: by default raw images (OUTDIR/raw), then both levels of migxai
(OUTDIR/migxai); with --maps indicator maps alone (OUTDIR/maps), then the group level. The truth lies in OUTDIR/truth.
No person was scanned, and the group effect is planted: the demo shows that the software works, and says nothing about
migraine. Options after -- are handed to migxai."""

#: The fifth makes two people of each class: the fourth moves too much and is excluded.
_SUBJECTS, _MAP_SUBJECTS = 5, 40
#: What the group level is run with unless options after -- say otherwise. The demo must need no pretrained weights.
_GROUP_OF_IMAGES: dict[str, tuple[str, ...]] = {
    "--comparison": ("hc_vs_migraine=HC:MWoA+MWA",),
    "--folds": ("2",),
    "--trials": ("1",),
    "--models": ("googlenet", "svm"),
    "--weights": ("random",),
    "--epochs": ("10",),
    "--augmentations": ("2",),
}
_GROUP_OF_MAPS: dict[str, tuple[str, ...]] = {
    "--models": ("googlenet", "svm", "rf"),
    "--weights": ("random",),
    "--trials": ("1",),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of `migxai-demo`."""
    images, maps = DemoSettings(), MapSettings()
    result = argparse.ArgumentParser(prog="migxai-demo", description=_DESCRIPTION, allow_abbrev=False)
    result.add_argument("outdir", metavar="OUTDIR", type=Path, help="a new or empty directory, or a demo to go on with")
    result.add_argument("--maps", action="store_true", help="make indicator maps in place of images, in seconds")
    result.add_argument(
        "--subjects", type=_count, metavar="N", help=f"default: {_SUBJECTS}; with --maps {_MAP_SUBJECTS}"
    )
    result.add_argument("--small", action="store_true", help="coarser images and 150 volumes: quick, for a first look")
    result.add_argument("--seed", type=_seed, default=images.seed, help="default: %(default)s")
    result.add_argument(
        "--effect-size",
        type=float,
        metavar="X",
        help="how much stronger networks are in the patients' cuneus and precuneus (default: "
        f"{images.effect_size}); with --maps Cohen's d of a voxel (default: {maps.effect_size}); 0: no effect",
    )
    result.add_argument(
        "--effect-region",
        nargs="+",
        metavar="PREFIX",
        help="with --maps: the AAL regions with an effect, by the beginnings of their names (default: "
        f"{' '.join(maps.effect_regions)})",
    )
    result.add_argument("--data-only", action="store_true", help="stop when the data are made")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Make the demo and run migxai on it; return the exit code, as documented for `migxai`."""
    given = list(sys.argv[1:] if argv is None else argv)
    own, handed_on = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    read = parser()
    options = read.parse_args(own)
    if options.maps and options.small:
        read.error("--small is about images; --maps makes none")
    if options.effect_region and not options.maps:
        read.error("--effect-region needs --maps")
    try:
        return _with_maps(options, handed_on) if options.maps else _with_images(options, handed_on)
    except MigxaiError as error:
        print(f"migxai-demo: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def _with_images(options: argparse.Namespace, handed_on: list[str]) -> int:
    root: Path = options.outdir
    base = SMALL if options.small else DemoSettings()
    effect = base.effect_size if options.effect_size is None else options.effect_size
    settings = dataclasses.replace(base, seed=options.seed, effect_size=effect)
    subjects: int = options.subjects or _SUBJECTS
    for label in make_cohort(root, settings, subjects):
        _say(f"{label}: data ready ({label[4:]} of {subjects:02d})")
    _say(f"Data: {root / 'raw'}   Truth: {root / 'truth'}")
    if options.data_only:
        return EXIT_OK

    from migxai.cli.main import main as migxai

    output = str(root / "migxai")
    code = migxai([str(root / "raw"), output, "participant", *handed_on])
    if code == EXIT_OK and _two_of_each_class(subjects):
        code = migxai([output, output, "group", *_unless_given(_GROUP_OF_IMAGES, handed_on), *handed_on])
        _say(f"With {subjects} people no classification can be better than luck: the scores show that all parts run.")
    elif code == EXIT_OK:
        _say("The group level is left out: it needs two people of each class whose runs are usable (--subjects 5).")
    _say(f"Results: {root / 'migxai'} (open sub-01.html)")
    _say(
        f"The demo's effect is planted: networks in the cuneus and precuneus are {effect:.0%} stronger in MWoA, and by "
        "1.5 times that in MWA, than in HC. Finding it says nothing about migraine."
    )
    return code


def _with_maps(options: argparse.Namespace, handed_on: list[str]) -> int:
    from migxai.demo.map_cohort import make_map_cohort

    root: Path = options.outdir
    effect = MapSettings().effect_size if options.effect_size is None else options.effect_size
    regions = tuple(options.effect_region or MapSettings().effect_regions)
    subjects: int = options.subjects or _MAP_SUBJECTS
    dataset = make_map_cohort(root, subjects=subjects, seed=options.seed, effect_size=effect, effect_regions=regions)
    _say(f"Data: {dataset} ({subjects} people)   Truth: {root / 'truth'}")
    if options.data_only:
        return EXIT_OK

    from migxai.cli.main import main as migxai

    output = str(root / "migxai")
    code = migxai([str(dataset), output, "group", *_unless_given(_GROUP_OF_MAPS, handed_on), *handed_on])
    _say(f"Results: {root / 'migxai' / 'group'}")
    _say(
        f"The demo's effect is planted: maps in {', '.join(regions)} are higher by {effect:g} standard deviations in "
        "MWoA, and by 1.5 times that in MWA, than in HC. Finding it says nothing about migraine."
    )
    return code


def _two_of_each_class(subjects: int) -> bool:
    usable = [make_participant(number, 0).group for number in range(1, subjects + 1) if number != EXCESSIVE]
    controls = usable.count("HC")
    return controls >= 2 and len(usable) - controls >= 2


def _unless_given(defaults: Mapping[str, Sequence[str]], handed_on: Sequence[str]) -> list[str]:
    """Return the defaults that were not handed on: options that take a list would add to ours, not replace it."""
    given = {text.partition("=")[0].replace("_", "-") for text in handed_on if text.startswith("--")}
    return [text for flag, values in defaults.items() if flag not in given for text in (flag, *values)]


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
