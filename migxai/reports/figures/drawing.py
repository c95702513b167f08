"""Figures that come out as the same bytes every time: one style, no pyplot, and a clean SVG.

nireports' own plots draw through pyplot's global state, put a random UUID into every file and call an external
compressor where it is installed: the same run would give other bytes each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from migxai.io import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of every figure in inches, so that letters have one size all over the report.
WIDTH = 10.0

#: The brain mask's red stands apart from white matter's orange on grey pictures.
MASK_COLOUR = "#FF2D55"
#: Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6B7280"
#: Of letters, as in the style sheet.
INK = "#1f2933"
TISSUE_COLOURS = {"GM": BLUE, "WM": ORANGE, "CSF": GREEN}

_STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.6,
    "image.composite_image": False,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "savefig.dpi": 100,
    # Letters as paths: what is seen does not depend on the fonts of the reader's machine.
    "svg.fonttype": "path",
    "svg.hashsalt": "migxai",
    "svg.id": None,
}

_PATHS = re.compile(r'(?<= d=")[^"]+')
_LONG = re.compile(r"-?\d+\.\d{3,}")


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in migxai's style, whatever the user's own matplotlib settings are."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure of the report's width and a height in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Strip an axes that carries a picture of ticks, grid and frame."""
    axes.set_axis_off()
    axes.grid(visible=False)


def save_svg(figure: Figure, out_file: Path, *, title: str, description: str, style: str = "") -> Path:
    """Write a figure as SVG that holds neither date nor version nor reference to another file.

    Parameters
    ----------
    figure
        The figure.
    out_file
        Where to; written under a temporary name and renamed.
    title, description
        What the figure is, and what it shows, in words: they become the SVG's ``title`` and ``desc``, and the
        report's alternative text.
    style
        Style sheet to embed, for the flicker of overlays.

    Returns
    -------
    Path
        `out_file`.
    """
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    write_text(out_file, _clean(buffer.getvalue(), title, description, style))
    return out_file


def _clean(svg: str, title: str, description: str, style: str) -> str:
    # The prologue names a DTD on the web and the metadata name standards by URL: neither has a use here.
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Inside a page the rule would reach everything.
    body = body.replace("*{stroke", "svg *{stroke")
    # A hundredth of a point is below what any screen shows, and outlines take half the room.
    body = _PATHS.sub(lambda path: _LONG.sub(lambda digits: f"{float(digits[0]):.2f}", path[0]), body)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    words = f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n"
    sheet = f'<style type="text/css">{style}</style>\n' if style else ""
    return f'{head} role="img">\n{words}{sheet}{rest.lstrip()}'
