"""Literature in the methods texts: marks such as ``[@li2025]`` become names and years, and a list of references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from migxai.registry import Entry

_MARK = re.compile(r"\[@([A-Za-z0-9_+.;@ -]+)\]")
#: Words after which a sentence needs the authors as a noun.
_NOUN = re.compile(r"\b(after|and|follow|follows) \[@([A-Za-z0-9_+.-]+)\]")
_IN_BRACKETS = re.compile(r"(\([^()\[]*) \[@([A-Za-z0-9_+.-]+)\]\)")


@dataclass(frozen=True)
class Reference:
    """One entry of the list of references.

    Attributes
    ----------
    cite
        How the text names it: ``Zang et al., 2007``.
    entry
        The entry in full, without DOI.
    doi
        Empty where there is none.
    """

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
