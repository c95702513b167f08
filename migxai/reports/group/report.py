"""The report of the group level: one HTML file that needs nothing else to be read, and its figures as files.

Its first section is the summary: what came out, whether the checks hold, and whether to trust the maps. Its last says
what was done, in words that can go into a paper, with parameters, versions, references and limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migxai.audit.checks import Check
from migxai.audit.headline import HEADLINES, AssessedResult, assess_results, verdict
from migxai.audit.runner import check_results, checks_of_audit
from migxai.evaluation.formatting import Tone, cell_text, listed, plural
from migxai.evaluation.paper import TABLE_2
from migxai.evaluation.results import GroupFolder, Results, indicator_name, model_name, read_results
from migxai.explain.methods import METHODS
from migxai.io import read_json, write_text
from migxai.learning.backbones import NETWORKS
from migxai.learning.estimators import ESTIMATORS, baselines, is_deep
from migxai.registry import Entry
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.explained_maps import NO_MAPS, ExplainedMap, read_explained_maps
from migxai.reports.group.gallery import SIMULATED, Gallery
from migxai.reports.group.maps import maps_section
from migxai.reports.group.people import people_section
from migxai.reports.group.results import results_section
from migxai.reports.participant.report import link_to_group
from migxai.reports.rendering import Reference, Table, cite, cited, mark, references_with, render


def write_report(folder: GroupFolder) -> Path:
    """Write ``group/report.html`` and ``group/figures`` from what the group level left in its folder.

    Only ``description.json`` must be there: what else is missing is said to be. The same files give the same bytes.
    Reports of participants that lie in the output are linked, and get a link to this one. An InputError or ImageError
    says which file is damaged, or not what the report reads.
    """
    results = read_results(folder)
    maps = read_explained_maps(folder)
    assessed = {name: assess_results(results, name) for name in results.comparisons}
    checks = _checks(folder, results)
    simulated = results.simulated or any(one.simulated for one in maps)
    with drawing_style():
        gallery = Gallery(folder.file("figures"), simulated)
        drawn = {
            "people": people_section(results, gallery),
            "results": results_section(results, assessed, gallery),
            "maps": maps_section(results, maps, gallery),
        }
    gallery.remove_others()
    page = render(
        "group/report.html.jinja",
        title="migxai: group report",
        subtitle="; ".join(results.title(name) for name in results.comparisons),
        simulated=SIMULATED if simulated else "",
        summary=summary_section(results, assessed, checks, maps),
        checks=checks_table(checks),
        methods=methods_section(results, maps),
        **drawn,
    )
    path = folder.file("report.html")
    write_text(path, page)
    for report in sorted(folder.root.parent.glob("sub-*.html")):
        link_to_group(report)
    return path


def read_checks(folder: GroupFolder) -> list[Check]:
    """Return all checks of the results and of the maps, as the report shows them."""
    return _checks(folder, read_results(folder))


def _checks(folder: GroupFolder, results: Results) -> list[Check]:
    path = folder.file("audit.json")
    audited = checks_of_audit(read_json(path, folder.root)) if path.is_file() else []
    return check_results(results) + audited


_UNFROZEN = {
    "last-conv": "the last convolution (of a transformer, the last block) and the classifier, which started at random",
    "last-block": "the last block and the classifier, which started at random",
    "linear": "the classifier",
}
_SCHEMES = {
    "leave-one-out": "Each person was tested by models trained on all others",
    "leave-one-site-out": "Each site was tested by models trained on all others",
}


@dataclass(frozen=True)
class MethodsSection:
    """What the section shows; its limits stand in the template."""

    paragraphs: Sequence[str]
    messages: Sequence[str]
    parameters: Table
    versions: Table
    references: Sequence[Reference]


def methods_section(results: Results, maps: Sequence[ExplainedMap]) -> MethodsSection:
    """Write the methods paragraphs; gather messages of the run, parameters, versions and references."""
    known = references_with([*NETWORKS.values(), *ESTIMATORS.values(), *METHODS.values()])
    written = [_cohort(results), _models(results), _scores(results), _explanations(maps)]
    return MethodsSection(
        paragraphs=[cite(sentences, known) for sentences in written if sentences],
        messages=[str(one) for one in results.description.get("Messages", [])],
        parameters=_parameters(results),
        versions=Table.of_pairs(results.versions, "Software"),
        references=cited(" ".join(sentence for sentences in written for sentence in sentences), known),
    )


def _cohort(results: Results) -> list[str]:
    told = results.description
    sentences = ["Groups were compared with migxai " + results.versions.get("migxai", "") + ", after [@li2025]."]
    people = results.people
    if not people.empty:
        count = int((people["included"] == "yes").sum())
        datasets = plural(people["dataset"].nunique(), "dataset")
        sentences.append(
            f"Of {plural(len(people), 'person', 'people')} in {datasets}, {count} were analysed and "
            f"{len(people) - count} left out."
        )
    compared = [f"{results.title(name)} ({listed(labels)})" for name, labels in results.comparisons.items()]
    sentences.append(f"Compared were {listed(compared)}.")
    names = [indicator_name(str(name)) for name in told.get("Indicators", {})]
    if names:
        resolution = f" with voxels of {told['Resolution']} mm" if str(told.get("Resolution", "")).isdigit() else ""
        sentences.append(
            f"Maps of {listed(names)} in the space {told.get('Space', 'of the template')}{resolution} were read."
        )
    return sentences


def _models(results: Results) -> list[str]:
    told, options = results.description, results.description["Options"]
    models = [str(name) for name in told.get("Models", []) if name not in baselines()]
    deep = [name for name in models if is_deep(name)]
    plain = [name for name in models if name not in deep]
    sentences = []
    if deep:
        sentences += _networks(deep, told, options)
    if plain:
        atlas = "AAL [@tzouriomazoyer2002]" if told.get("Atlas") == "AAL" else told.get("Atlas", "the atlas")
        sentences.append(f"{_named(plain)} read the maps' means over the regions of {atlas}.")
    sentences.append(
        "Beside them stand always naming the largest class, and a logistic regression on age, sex, site, head motion "
        "and coverage."
    )
    return sentences


def _named(models: Sequence[str]) -> str:
    entries: dict[str, Entry] = {**NETWORKS, **ESTIMATORS}
    return listed([model_name(name) + mark(entries.get(name)) for name in models])


def _networks(deep: Sequence[str], told: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    slices = told.get("Slices", {})
    heights = slices.get("heights_mm") or []
    span = f" ({heights[0]:g} to {heights[-1]:g} mm)" if heights else ""
    imagenet = options.get("weights") == "imagenet"
    start = "weights learned on ImageNet [@deng2009]" if imagenet else f"{options.get('weights')} weights"
    flips = ", left-right flips" if options.get("augment_flip") else ""
    standard = options.get("feature_norm") == "batch"
    vote = "averaged" if options.get("vote") == "mean" else "put to a majority vote"
    trained = _UNFROZEN.get(str(options.get("unfreeze")), options.get("unfreeze"))
    return [
        f"{_named(deep)} saw {options.get('slices')} {options.get('slice_axis')} slices of each map{span}, scaled "
        f"within the person, and altered copies of each (number {options.get('augmentations')}; crops{flips}, "
        f"rotations to {options.get('rotation')} degrees).",
        f"They started with {start}; trained were {trained}, for {options.get('epochs')} epochs by stochastic gradient "
        f"descent (learning rate {options.get('learning_rate')}, momentum {options.get('momentum')}, weight decay "
        f"{options.get('weight_decay')}, batches of {options.get('batch_size')}, dropout {options.get('dropout')}).",
        *(["What a classifier read was standardised by batch while it learned [@he2022]."] if standard else []),
        f"The probabilities of a person's slices were {vote}.",
    ]


def _scores(results: Results) -> list[str]:
    options, scheme = results.description["Options"], results.description["CrossValidation"]
    folds = f"People were divided into {options.get('folds')} folds, alike in classes and sites as far as can be"
    permutations = options.get("permutations") or 0
    sentences = [
        f"{_SCHEMES.get(scheme, folds)}; this was repeated {plural(int(options.get('trials', 1)), 'time')} "
        f"(seed {results.seed}). All slices of a person were on one side of each division.",
        "Scores are those of the pooled predictions of each trial, averaged over trials; intervals are percentiles of "
        f"{options.get('bootstraps')} resamples of people within classes [@efron1993], and ROC curves are averaged "
        "vertically [@fawcett2006].",
    ]
    if permutations:
        sentences.append(
            f"The first trial was repeated {plural(permutations, 'time')} with labels permuted within sites "
            "[@ojala2009]; p values are corrected by Holm's method for the results of one comparison."
        )
    return sentences


def _explanations(maps: Sequence[ExplainedMap]) -> list[str]:
    methods = sorted({one.method for one in maps if one.kind not in ("univariate", "agreement")})
    if not methods:
        return []
    entries = {entry.title: entry for entry in METHODS.values()}
    named = [name + mark(entries.get(name)) for name in methods]
    return [
        f"What each network looked at was mapped by {listed(named)}, for each person by the model that had not seen "
        "them, put back into the brain by the inverse of the slicing, and averaged over people.",
    ]


def _parameters(results: Results) -> Table:
    told = results.description
    rest = {name: told[name] for name in ("CrossValidation", "Seed", "Space", "Resolution", "Atlas") if name in told}
    options = {name: cell_text(_plain(value)) for name, value in told["Options"].items()}
    definitions = {
        f"{indicator_name(str(name))}: {key}": _plain(value)
        for name, fields in told.get("Indicators", {}).items()
        for key, value in fields.items()
    }
    return Table.of_pairs({**rest, **options, **definitions}, "Options of the group level, and definitions of the maps")


def _plain(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Box:
    """A statement: its heading, a leading sentence, further points, and how it is meant."""

    title: str
    lead: str
    points: Sequence[str] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class SummarySection:
    """What was reached in each comparison, the verdict of the checks, and whether to trust the maps."""

    comparisons: Sequence[Box]
    checks: Box
    maps: Box


def summary_section(
    results: Results,
    assessed: Mapping[str, Sequence[AssessedResult]],
    checks: Sequence[Check],
    maps: Sequence[ExplainedMap],
) -> SummarySection:
    """Put the headlines into words."""
    comparisons = []
    for name, items in assessed.items():
        words, tone = HEADLINES[items[0].versus_chance if items else "unknown"]
        first, *others = verdict(results, name, items)
        title = f"{results.title(name)}: {words}"
        comparisons.append(Box(title, first, [*others, *_published(name)], tone))
    return SummarySection(comparisons, _checks_box(checks), _maps_box(maps))


def _published(comparison: str) -> list[str]:
    """Say what the paper prints as its best of this comparison."""
    cells = [(texts[0], model, indicator) for (model, indicator, name), texts in TABLE_2.items() if name == comparison]
    if not cells:
        return []
    text, model, indicator = max(cells, key=lambda cell: float(cell[0].split()[0]))
    return [
        f"The paper that this software follows prints {text.split()[0]} % for {model_name(model)} on "
        f"{indicator_name(indicator)}, its best. It does not say whether that is of people or of slices, and some "
        "of its numbers cannot belong together (see Results)."
    ]


def _checks_box(checks: Sequence[Check]) -> Box:
    failed = [one for one in checks if one.passed is False]
    counts = [sum(one.passed is state for one in checks) for state in (True, False, None)]
    return Box(
        "Checks failed" if failed else "No check failed",
        f"{plural(counts[0], 'check')} passed, {counts[1]} failed, {counts[2]} could not be made.",
        [f"{one.name}{f' ({one.of})' if one.of else ''}: {one.value}" for one in failed],
        "bad" if failed else "good",
    )


def _maps_box(maps: Sequence[ExplainedMap]) -> Box:
    if not maps:
        return Box("No maps", NO_MAPS)
    doubtful = sorted({f"{one.method}: {one.warning}" for one in maps if one.warning})
    text = f"The section Maps holds {plural(len(maps), 'map')}: where networks looked, and how the indicators differ."
    return Box("Some maps must not be trusted", text, doubtful, "bad") if doubtful else Box("Maps", text)


def checks_table(checks: Sequence[Check]) -> Table:
    """Lay out the checks, those that failed first."""
    tones: dict[bool | None, Tone] = {True: "good", False: "bad", None: ""}
    words = {True: "passed", False: "failed", None: "not made"}
    ordered = sorted(checks, key=lambda one: [False, None, True].index(one.passed))
    return Table(
        "Checks of the results and of the maps",
        ("Check", "Of", "Found", "Limit", "Verdict", "What it means"),
        [(one.name, one.of, one.value, one.limit, words[one.passed], one.detail) for one in ordered],
        style="checks",
        tones=[tones[one.passed] for one in ordered],
    )
