"""What may be said of the scores: whether people were told apart better than by chance, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from migxai.evaluation.formatting import Tone, interval, percent, plural
from migxai.evaluation.results import Results, ScoredModel, share
from migxai.learning.estimators import baselines
from migxai.metrics.inference import holm

#: The score that a permutation test is read from: chance is the same whatever the sizes of the classes.
TESTED = "balanced_accuracy"
#: Below it a p value counts as evidence, after Holm's correction for the results of one comparison.
ALPHA = 0.05

VersusChance = Literal["above", "suggested", "unclear", "chance", "below", "unknown"]

#: How each case of `VersusChance` is put in a heading, and its tone.
HEADLINES: dict[VersusChance, tuple[str, Tone]] = {
    "above": ("told apart better than chance", "good"),
    "suggested": ("perhaps told apart better than chance, not tested with permuted labels", "warn"),
    "unclear": ("not shown to be told apart better than chance", "warn"),
    "chance": ("not told apart better than chance", "warn"),
    "below": ("worse than chance", "bad"),
    "unknown": ("no result", "warn"),
}

#: What each case of `VersusChance` means, after the numbers.
_MEANING: dict[VersusChance, str] = {
    "above": "The interval lies above that.",
    "suggested": "The interval lies above that, but it leaves out how much scores vary from one training set to "
    "the next: labels must be permuted before more is said (--permutations).",
    "unclear": "The interval lies above that, but the test with permuted labels does not bear it out: this is no "
    "evidence that the groups differ.",
    "chance": "The interval includes that: nothing shows that these maps tell the groups apart.",
    "below": "The whole interval lies below that. Cross-validation of small groups without a difference often "
    "does so; it is no sign of information.",
    "unknown": "Without an interval or a chance level nothing more can be said.",
}


@dataclass(frozen=True)
class Chance:
    """What is right without looking at a brain: the accuracy of always naming the largest of so many classes.

    NaN if the classes' sizes are not known.
    """

    level: float
    largest: str
    classes: int


@dataclass(frozen=True)
class AssessedResult:
    """A result with what may be said of it, and the p value of its permutation test, NaN without one.

    It is corrected for the other results of the comparison.
    """

    cell: ScoredModel
    versus_chance: VersusChance
    p_holm: float

    @property
    def accuracy(self) -> float:
        """Share of people put into the right class."""
        return self.cell.scores["accuracy"].value


def chance_level(results: Results, comparison: str) -> Chance:
    """Return the chance level of a comparison: the larger of the largest class's share and the majority baseline."""
    counts = results.class_counts(comparison)
    measured = [
        cell.scores["accuracy"].value for cell in results.scored_models_of(comparison) if cell.model == "majority"
    ]
    levels = [level for level in (share(list(counts.values())), *measured) if np.isfinite(level)]
    largest = max(counts, key=lambda name: counts[name]) if counts else ""
    return Chance(max(levels, default=float("nan")), largest, len(results.comparisons[comparison]))


def assess_results(results: Results, comparison: str) -> list[AssessedResult]:
    """Judge every model that looks at brains, best accuracy first.

    A result stands above chance if its 95 % interval lies above the chance level and, where labels were permuted, its
    corrected p value is under `ALPHA`; it stands at chance if the interval holds the chance level.
    """
    chance = chance_level(results, comparison)
    cells = [cell for cell in results.scored_models_of(comparison) if cell.model not in baselines()]
    raw = [cell.permuted[TESTED].p if TESTED in cell.permuted else np.nan for cell in cells]
    pairs = zip(cells, holm(raw), strict=True)
    assessed = [AssessedResult(cell, _versus_chance(cell, chance.level, float(p)), float(p)) for cell, p in pairs]
    return sorted(assessed, key=lambda one: -one.accuracy)


def _versus_chance(cell: ScoredModel, chance: float, p: float) -> VersusChance:
    score = cell.scores["accuracy"]
    if not np.isfinite([score.low, score.high, chance]).all():
        return "unknown"
    if score.high < chance:
        return "below"
    if score.low <= chance:
        return "chance"
    if np.isnan(p):
        return "suggested"
    return "above" if p < ALPHA else "unclear"


def verdict(results: Results, comparison: str, assessed: Sequence[AssessedResult]) -> list[str]:
    """Put the best result of a comparison, judged by `assess_results`, into sentences.

    What was reached, by whom, against what; what the choice of the best does to it; what permuted labels and the
    nuisance variables reach.
    """
    if not assessed:
        return ["No model that looks at brain maps has been scored."]
    chance, best = chance_level(results, comparison), assessed[0]
    score, cell = best.cell.scores["accuracy"], best.cell
    trials = f", mean of {cell.trials} trials" if cell.trials > 1 else ""
    bounds = "no interval" if np.isnan(score.low) else f"95 % interval {interval(score.low, score.high)}"
    sentences = [
        f"{cell.name} put {percent(score.value)} of {cell.n} people into the right class ({bounds}{trials}). "
        f"Always naming the largest class, {chance.largest}, is right for {percent(chance.level)}. "
        f"{_MEANING[best.versus_chance]}"
    ]
    if len(assessed) > 1:
        sentences.append(
            f"This is the best of {len(assessed)} results, chosen after looking at them all: the choice flatters it, "
            "and its interval does not allow for that."
        )
    sentences.append(_permuted(best, sum(TESTED in one.cell.permuted for one in assessed)))
    sentences += _nuisance(results, best)
    return sentences


def _permuted(best: AssessedResult, tested: int) -> str:
    if TESTED not in best.cell.permuted:
        return "What chance gives was not measured by permuting labels (see --permutations)."
    test = best.cell.permuted[TESTED]
    least = 1 / (test.permutations + 1)
    corrected = f", {_p(best.p_holm)} after correction for the number of results" if best.p_holm != test.p else ""
    few = (
        f" So few permutations cannot show anything for {plural(tested, 'result')}." if tested * least >= ALPHA else ""
    )
    return (
        f"With labels permuted {plural(test.permutations, 'time')}, the same procedure reached a balanced accuracy of "
        f"{percent(test.mean)} on average and {percent(test.top)} in its best 5 %; with the true labels it was "
        f"{percent(test.observed)} (p = {_p(test.p)}{corrected}; the smallest p that {test.permutations} permutations "
        f"can give is {_p(least)}).{few}"
    )


def _nuisance(results: Results, best: AssessedResult) -> list[str]:
    for cell in results.scored_models_of(best.cell.comparison):
        if cell.model == "nuisance" and cell.indicator == best.cell.indicator:
            score = cell.scores["accuracy"]
            beaten = ", no less than the maps do" if score.value >= best.accuracy else ""
            return [
                f"Age, sex, site, head motion and coverage alone, without any brain map, reach {percent(score.value)} "
                f"(95 % interval {interval(score.low, score.high)}){beaten}."
            ]
    return []


def _p(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
