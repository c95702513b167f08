"""From a figure to what is shown and what is kept: inline in the page, and as SVG and 300 dpi PNG beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from migxai.bids.writing import write_bytes
from migxai.reports.canvas import save_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of the PNG files, for print.
PRINT_DPI = 300
#: Of pictures of brains in the page: a screen shows no more, and an SVG of one would be ten times larger.
PAGE_DPI = 120
#: Of WebP, 0 to 100; artefacts are invisible from about 80.
_QUALITY = 86


@dataclass
class Gallery:
    """Keeps figures as files, and counts what the page takes.

    Attributes
    ----------
    folder
        ``group/figures``.
    names
        Of the figures kept, without extension, in order.
    """

    folder: Path
    names: list[str] = field(default_factory=list)

    def add(
        self, figure: Figure, name: str, *, title: str, words: str, inline: Literal["svg", "webp"] = "svg"
    ) -> str:
        """Keep a figure, and return it as HTML.

        Parameters
        ----------
        figure
            What `migxai.reports.canvas.new_figure` made; inside `migxai.reports.canvas.drawing_style`.
        name
            Of the files, without extension.
        title, words
            What it is, and what it shows: the alternative text.
        inline
            How the page holds it: lines as SVG, pictures of brains as WebP.

        Returns
        -------
        str
            ``<figure>`` with the picture itself and the names of the files.

        Raises
        ------
        OutputError, ResourceError
            If a file cannot be written.
        """
        path = save_svg(figure, self.folder / f"{name}.svg", title=title, description=words)
        # No Software: the version of matplotlib would change the bytes.
        write_bytes(self.folder / f"{name}.png", _raster(figure, PRINT_DPI, "png", metadata={"Software": None}))
        self.names.append(name)
        if inline == "svg":
            kind, content = "svg+xml", path.read_bytes()
        else:
            kind, content = "webp", _raster(figure, PAGE_DPI, "webp", pil_kwargs={"quality": _QUALITY, "method": 6})
        code = base64.b64encode(content).decode()
        words = escape(f"{title}. {words}")
        return (
            f'<figure><img alt="{words}" src="data:image/{kind};base64,{code}"/>'
            f'<figcaption class="about">figures/{name}.svg, .png</figcaption></figure>'
        )


def _raster(figure: Figure, dpi: int, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, **options)
    return buffer.getvalue()
