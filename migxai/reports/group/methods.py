"""What was done, in words that can go into a paper, with parameters, versions, references and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from migxai.evaluation.results import Results, indicator_name, model_name
from migxai.evaluation.wording import cell_text, listed, plural
from migxai.explain.methods import METHODS
from migxai.learning.backbones import NETWORKS
from migxai.learning.estimators import ESTIMATORS, baselines, is_deep
from migxai.registry import Entry
from migxai.reports.citations import Reference, cite, cited, mark, references_with
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.rendering import Table

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
