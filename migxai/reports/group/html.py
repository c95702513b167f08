"""Pieces of HTML: tables, lists, boxes and figures. Whatever comes from a file is escaped here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from migxai.evaluation.wording import Tone, cell_text

if TYPE_CHECKING:
    import pandas as pd


def paragraph(text: str, css: str = "") -> str:
    """Return a paragraph of plain text."""
    return f"<p{_css(css)}>{escape(text, quote=False)}</p>"


def bullets(sentences: Iterable[str]) -> str:
    """Return a list of plain sentences, nothing if there is none."""
    items = "".join(f"<li>{escape(sentence, quote=False)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def box(title: str, content: str, tone: Tone = "", identity: str = "") -> str:
    """Return a box with a heading; `content` is HTML."""
    name = f' id="{identity}"' if identity else ""
    return f'<div class="verdict {tone}"{name}><h3>{escape(title, quote=False)}</h3>{content}</div>'


def folded(summary: str, content: str, *, shown: bool = False) -> str:
    """Return content (HTML) that opens on demand."""
    state = " open" if shown else ""
    return f"<details{state}><summary>{escape(summary, quote=False)}</summary>{content}</details>"


def table(
    rows: Sequence[Sequence[object]],
    heads: Sequence[str],
    *,
    caption: str,
    css: str = "figures",
    marked: Mapping[int, Tone] | None = None,
) -> str:
    """Return a table whose first column heads its rows.

    Parameters
    ----------
    rows
        Cells of plain text; None and NaN leave a dash.
    heads
        Headings of the columns.
    caption
        What the table shows; screen readers say it first.
    css
        Class of the table.
    marked
        Tones of rows, by their place.

    Returns
    -------
    str
        HTML, as `table_in_box`; nothing without rows.
    """
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name, quote=False)}</th>' for name in heads)
    body = []
    for place, row in enumerate(rows):
        first, *rest = (cell_text(cell) for cell in row)
        tone = (marked or {}).get(place, "")
        cells = "".join(f"<td{_number(cell)}>{escape(cell, quote=False)}</td>" for cell in rest)
        body.append(f'<tr{_css(tone)}><th scope="row">{escape(first, quote=False)}</th>{cells}</tr>')
    return table_in_box(caption, f"<tr>{head}</tr>", "".join(body), css=css)


def table_in_box(caption: str, head: str, body: str, *, css: str, tall: bool = False) -> str:
    """Put rows of HTML into a table, in a box that scrolls sideways on a narrow screen, and down if it is tall."""
    words = escape(caption, quote=False)
    return (
        f'<div class="wide{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{_css(css)}><caption>{words}</caption><thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def linked_table(rows: Sequence[Sequence[str]], heads: Sequence[str], *, caption: str) -> str:
    """Return a sortable table whose first column is HTML, such as a link; the other cells are plain text."""
    head = "".join(f'<th scope="col">{escape(name, quote=False)}</th>' for name in heads)
    body = [
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{escape(cell, quote=False)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    ]
    return table_in_box(caption, f"<tr>{head}</tr>", "".join(body), css="figures sortable", tall=True)


def frame_table(frame: pd.DataFrame, *, caption: str, css: str = "figures") -> str:
    """Return a table of text as HTML, its columns as they are; columns without any entry are left out."""
    kept = [name for name in frame.columns if frame[name].map(cell_text).ne("–").any()]
    return table(frame[kept].to_numpy().tolist(), [str(name) for name in kept], caption=caption, css=css)


def pairs_table(pairs: Mapping[str, object], *, caption: str) -> str:
    """Return a table of names and what they are."""
    return table(list(pairs.items()), ("Name", "Value"), caption=caption, css="pairs")


def _css(name: str) -> str:
    return f' class="{name}"' if name else ""


def _number(cell: str) -> str:
    return ' class="number"' if re.match(r"[-–+<]?\.?\d", cell) or cell == "–" else ""
