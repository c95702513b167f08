"""Pieces of HTML that the report is made of: verdict, tables, and lists of warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from migxai.reports.figures.region_values import HARDLY, PARTLY
from migxai.reports.participant.run_summary import Number, ProcessingStep, QualityMeasure, RegionValues, RunSummary


def verdict(runs: Sequence[RunSummary]) -> str:
    """Return the report's opening: per run usable or excluded, why, and the warnings."""
    usable = sum(run.usable for run in runs)
    noun = "run" if len(runs) == 1 else "runs"
    lines = [f'<p class="lead">{usable} of {len(runs)} {noun} usable at group level.</p>']
    for run in runs:
        word, tone = ("Usable", "good") if run.usable else ("Excluded", "bad")
        lines.append(f'<div class="verdict {tone}"><p><strong>{word}</strong>: <a href="#{anchor(run)}">')
        lines.append(f"{escape(run.heading)}</a></p>")
        lines.append(_bullets(run.exclusion))
        lines.append(_key_numbers(run.numbers))
        lines.append("</div>")
    warned = [run for run in runs if run.warnings]
    if warned:
        lines.append('<div class="verdict warn" role="note"><p><strong>Warnings</strong></p>')
        for run in warned:
            lines.append(f"<p>{escape(run.heading)}</p>" if len(runs) > 1 else "")
            lines.append(_bullets(run.warnings))
        lines.append("</div>")
    else:
        lines.append("<p>No warnings.</p>")
    return "\n".join(line for line in lines if line)


def run_opening(run: RunSummary, alone: bool) -> str:
    """Return the opening of a run's section: verdict and warnings (the summary has a lone run's), quality, steps."""
    checks = [_quality(run.quality), _steps(run.steps)]
    if alone:
        return "\n".join(line for line in checks if line)
    word, tone = ("Usable", "good") if run.usable else ("Excluded", "bad")
    lines = [f'<div class="verdict {tone}"><p><strong>{word}</strong></p>{_bullets(run.exclusion)}</div>']
    if run.warnings:
        lines.append(f'<div class="verdict warn"><p><strong>Warnings</strong></p>{_bullets(run.warnings)}</div>')
    return "\n".join(line for line in [*lines, *checks] if line)


def run_tables(run: RunSummary) -> str:
    """Return the tables of inputs, numbers and settings."""
    numbers = {key: number(value) for key, value in run.numbers.items()}
    tables = (("Input", run.inputs), ("Numbers", numbers), ("Settings", run.parameters))
    return f'<div class="columns">{"".join(_table(title, rows) for title, rows in tables if rows)}</div>'


def region_table(run: RunSummary) -> str:
    """Return the table of all regions, folded away, and before it those that are hardly covered."""
    if not run.regions:
        return ""
    return _uncovered(run.regions) + _all_regions(run.regions)


def software(runs: Sequence[RunSummary]) -> str:
    """Return the table of software versions; runs made with different versions are said to be."""
    versions: dict[str, set[str]] = {}
    for run in runs:
        for name, version in run.software.items():
            versions.setdefault(name, set()).add(version)
    return _table("Software", {name: ", ".join(sorted(seen)) for name, seen in versions.items()})


def anchor(run: RunSummary) -> str:
    """Return the id of a run's section."""
    return run.name


def number(value: Number) -> str:
    """Write a number as a person would: whole ones whole, others with three digits, None as a dash."""
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bullets(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _key_numbers(numbers: Mapping[str, Number]) -> str:
    shown = list(numbers.items())[:6]
    items = "".join(f"<div><dt>{escape(key)}</dt><dd>{number(value)}</dd></div>" for key, value in shown)
    return f'<dl class="numbers">{items}</dl>' if items else ""


def _table(title: str, rows: Mapping[str, str]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(str(value))}</td></tr>' for key, value in rows.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{body}</tbody></table>" if body else ""


def _quality(items: Sequence[QualityMeasure]) -> str:
    if not items:
        return ""
    words = {True: '<td class="good">passed</td>', False: '<td class="bad">failed</td>', None: "<td>–</td>"}
    body = "".join(
        f'<tr><th scope="row">{escape(item.name)}</th><td>{number(item.value)} {escape(item.unit)}</td>'
        f"<td>{escape(item.limit) or '–'}</td>{words[item.passed]}</tr>"
        for item in items
    )
    head = '<thead><tr><th scope="col">Check</th><th scope="col">Value</th><th scope="col">Limit</th>'
    head += '<th scope="col">Result</th></tr></thead>'
    return f"<table><caption>Quality control</caption>{head}<tbody>{body}</tbody></table>"


def _steps(steps: Sequence[ProcessingStep]) -> str:
    if not steps:
        return ""
    body = "".join(
        f'<tr class="{step.status}"><th scope="row">{escape(step.name)}</th><td>{step.status}</td>'
        f"<td>{escape(step.detail)}</td></tr>"
        for step in steps
    )
    return f"<table><caption>Steps</caption><tbody>{body}</tbody></table>"


def _uncovered(regions: Sequence[RegionValues]) -> str:
    worst = sorted((region for region in regions if region.coverage < PARTLY), key=lambda region: region.coverage)
    if not worst:
        return f"<p>Every region is covered by at least {PARTLY:.0%}.</p>"
    hardly = sum(region.coverage < HARDLY for region in worst)
    named = ", ".join(f"{escape(region.name)} {int(100 * region.coverage)}%" for region in worst[:20])
    more = f" and {len(worst) - 20} more" if len(worst) > 20 else ""
    return (
        f"<p>{len(worst)} regions are covered by less than {PARTLY:.0%}, {hardly} by less than half: {named}{more}.</p>"
    )


def _all_regions(regions: Sequence[RegionValues]) -> str:
    names = list(dict.fromkeys(name for region in regions for name in region.values))
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(region.name)}</th><td>{region.coverage:.0%}</td>'
        + "".join(f"<td>{number(region.values.get(name))}</td>" for name in names)
        + "</tr>"
        for region in regions
    )
    head = f'<thead><tr><th scope="col">Region</th><th scope="col">Coverage</th>{columns}</tr></thead>'
    return (
        f"<details><summary>All {len(regions)} regions</summary>"
        f'<table class="figures">{head}<tbody>{body}</tbody></table></details>'
    )
