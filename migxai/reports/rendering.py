"""From data to pages: the jinja environment of the templates beside this module, and the table that they all draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from migxai.evaluation.wording import cell_text

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows; cells are plain text, and None and NaN leave a dash.

    Attributes
    ----------
    caption
        What it shows; screen readers say it first.
    heads
        Headings of the columns; none for a table of names and what they are.
    rows
        Cells by row.
    style
        Class of the table in the style sheet: ``sortable`` ones scroll, and sort by their headings.
    links
        Address that each row's head leads to, empty where to none; nothing if no row has one.
    tones
        Class of each row, such as the tone of what it says; nothing if no row has one.
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
    """Fill a template of the folder ``templates``; whatever is no markup already is escaped.

    Parameters
    ----------
    template
        Its path in that folder, such as ``group/report.html.jinja``.
    data
        What the template shows.
    """
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
