"""From data to pages: the templates beside this module, the table that they all draw, and literature that texts cite.

Marks in the methods texts such as ``[@li2025]`` become names and years, and a list of references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

from migxai.evaluation.formatting import cell_text
from migxai.registry import Entry

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows; cells are plain text, and None and NaN leave a dash.

    Screen readers say the caption first. A table of names and what they are has no heads. `style` is a class of the
    style sheet: ``sortable`` tables scroll, and sort by their headings. `links` are addresses that rows' heads lead to,
    empty where to none; `tones` are classes of rows, such as the tone of what they say. Either is empty if no row has
    one.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    style: str = ""
    links: Sequence[str] = ()
    tones: Sequence[str] = ()

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, caption: str) -> Self:
        """Show a table of text, its columns as they are; columns without any entry are left out."""
        kept = [name for name in frame.columns if frame[name].map(cell_text).ne("–").any()]
        return cls(caption, [str(name) for name in kept], frame[kept].to_numpy().tolist())

    @classmethod
    def of_pairs(cls, pairs: Mapping[str, object], caption: str) -> Self:
        """Show names and what they are."""
        return cls(caption, ("Name", "Value"), list(pairs.items()))


def number_text(value: float | None) -> str:
    """Write a number as a person would: whole ones whole, others with three digits, None as a dash."""
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def render(template: str, **data: Any) -> str:
    """Fill a template of ``templates``, such as ``group/report.html.jinja``; what is no markup is escaped."""
    return _environment().get_template(template).render(**data)


def template_source(name: str) -> Markup:
    """Return a file of the folder ``templates`` as it is: a style sheet, a script or a piece of a page."""
    from markupsafe import Markup

    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0].rstrip("\n"))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Imported late, since the command line imports this room for every call.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("migxai.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"cell": cell_text, "number": number_text}
    environment.globals["source"] = template_source
    return environment


_MARK = re.compile(r"\[@([A-Za-z0-9_+.;@ -]+)\]")
#: Words after which a sentence needs the authors as a noun.
_NOUN = re.compile(r"\b(after|and|follow|follows) \[@([A-Za-z0-9_+.-]+)\]")
_IN_BRACKETS = re.compile(r"(\([^()\[]*) \[@([A-Za-z0-9_+.-]+)\]\)")


@dataclass(frozen=True)
class Reference:
    """One entry of the list of references: how the text names it, ``Zang et al., 2007``, and the entry without DOI."""

    cite: str
    entry: str
    doi: str = ""

    @classmethod
    def parse(cls, citation: str) -> Reference:
        """Take a reference in full apart, such as ``Zang YF, et al. Title. Journal 2007;29:83-91. doi:10.1016/...``.

        The text names authors without initials, more than two as the first and "et al.", and the year of the volume.
        """
        entry, _, doi = citation.partition(" doi:")
        surnames = [re.split(r" [A-Z]{1,3}\b", author)[0] for author in entry.partition(". ")[0].split(", ")]
        names = " & ".join(surnames) if len(surnames) < 3 and "et al" not in surnames else f"{surnames[0]} et al."
        # Numbers of preprints such as arXiv:2011.08891 hold no year.
        years = re.findall(r"\b((?:19|20)\d\d)(?=;)", entry) or re.findall(r"\b(?:19|20)\d\d\b(?!\.\d)", entry)
        return cls(f"{names}, {years[-1] if years else 'n.d.'}", entry, doi)


@lru_cache(maxsize=1)
def packaged_references() -> Mapping[str, Reference]:
    """Read ``references.yml``: the literature that no entry of a registry brings."""
    import yaml

    text = (resources.files("migxai.reports") / "references.yml").read_text(encoding="utf-8")
    return {key: Reference(**fields) for key, fields in yaml.safe_load(text).items()}


def references_with(entries: Iterable[Entry]) -> dict[str, Reference]:
    """Return the packaged references, and those of registries' entries by the entries' names.

    An entry cites its reference in full, or names a packaged one by its key. A work is one reference, whoever cites it.
    """
    known = dict(packaged_references())
    by_doi = {one.doi.lower(): one for one in known.values()}
    for entry in entries:
        if entry.citation:
            found = known.get(entry.citation) or Reference.parse(entry.citation)
            known[entry.name] = by_doi.get(found.doi.lower(), found)
    return known


def mark(entry: Entry | None) -> str:
    """Return the mark that cites an entry of a registry, with a blank before it; nothing if it has no citation."""
    return f" [@{entry.name}]" if entry is not None and entry.citation else ""


def cited(text: str, known: Mapping[str, Reference]) -> list[Reference]:
    """Return the references that a text cites, in the order of their first mention, each once."""
    keys = [key for mark in _MARK.findall(text) for key in re.split(r"[;@ ]+", mark)]
    return list(dict.fromkeys(known[key] for key in keys))


def cite(sentences: Sequence[str], known: Mapping[str, Reference]) -> str:
    """Join sentences, and name authors and year where they cite.

    Names stand in brackets, unless the sentence needs them as a noun or is in brackets already.
    """

    def noun(match: re.Match[str]) -> str:
        authors, year = known[match[2]].cite.rsplit(", ", 1)
        return f"{match[1]} {authors} ({year})"

    text = _NOUN.sub(noun, " ".join(sentences))
    text = _IN_BRACKETS.sub(lambda match: f"{match[1]}; {known[match[2]].cite})", text)
    return _MARK.sub(lambda match: f"({known[match[1]].cite})", text)
