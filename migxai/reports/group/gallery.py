"""From a figure to what is shown and what is kept: inline in the page, and as SVG and 300 dpi PNG beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from migxai.io import write_bytes
from migxai.reports.figures.drawing import WIDTH, save_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of the PNG files, for print.
PRINT_DPI = 300
#: Of pictures of brains in the page: a screen shows no more, and an SVG of one would be ten times larger.
PAGE_DPI = 100
#: Said on every picture, and in every section, of data that were made up.
SIMULATED = "Simulated data: nobody was scanned"
#: Bytes of all pictures in the page together: with the viewer and the tables it stays under 15 MB.
ROOM = 6_500_000
#: Of WebP, 0 to 100; artefacts cannot be seen at the size of the page, and the files are without any.
_QUALITY = 75


#: A figure, and what it shows in words.
Drawn = tuple["Figure", str]


@dataclass
class Gallery:
    """Keeps figures as files, and counts what the page takes.

    Attributes
    ----------
    folder
        ``group/figures``.
    simulated
        Whether the data are made up: every picture says so.
    room
        Bytes that pictures may still take in the page; the files are written in any case.
    names
        Of the figures kept, without extension, in order.
    """

    folder: Path
    simulated: bool = False
    room: int = ROOM
    names: list[str] = field(default_factory=list)

    def add(self, figure: Figure, name: str, *, title: str, words: str, inline: Literal["svg", "webp"] = "svg") -> str:
        """Keep a figure, and return it as HTML.

        Parameters
        ----------
        figure
            From `migxai.reports.figures.drawing.new_figure`, inside its `drawing_style`.
        name
            Of the files, without extension.
        title, words
            What it is, and what it shows: the alternative text.
        inline
            How the page holds it: lines as SVG, pictures of brains as WebP.

        Returns
        -------
        str
            ``<figure>`` with the picture itself, what it shows, and links to the files.

        Raises
        ------
        OutputError, ResourceError
            If a file cannot be written.
        """
        if self.simulated:
            figure.suptitle(SIMULATED, x=0.995, ha="right", fontsize=9, color="#A4161A", weight="bold")
            words = f"{SIMULATED}. {words}"
        path = save_svg(figure, self.folder / f"{name}.svg", title=title, description=words)
        # Once is enough: laid out anew for every file, a figure takes three times as long.
        figure.set_layout_engine("none")
        # No Software: the version of matplotlib would change the bytes.
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=PRINT_DPI, metadata={"Software": None})
        write_bytes(self.folder / f"{name}.png", buffer.getvalue())
        self.names.append(name)
        if inline == "svg":
            kind, content = "svg+xml", path.read_bytes()
        else:
            kind, content = "webp", _for_screen(buffer)
        code = base64.b64encode(content).decode()
        self.room -= len(code)
        image = f'<img alt="{escape(title)}" src="data:image/{kind};base64,{code}"/>'
        if self.room < 0:
            image = "<p>Not shown here, where there is no more room; its files hold it.</p>"
        files = f'<a href="figures/{name}.svg">SVG</a>, <a href="figures/{name}.png">PNG, {PRINT_DPI} dpi</a>'
        caption = f"<strong>{escape(title, quote=False)}.</strong> {escape(words, quote=False)} ({files})"
        return f"<figure{_css(figure)}>{image}<figcaption>{caption}</figcaption></figure>"

    def remove_others(self) -> None:
        """Remove figures of an earlier report, which would be taken for this one's."""
        for path in self.folder.glob("*"):
            if path.suffix in (".svg", ".png") and path.stem not in self.names:
                path.unlink()


def _css(figure: Figure) -> str:
    """Keep figures narrower than the page from being blown up to its width."""
    share = figure.get_figwidth() / WIDTH
    return f' style="max-width:{share:.0%}"' if share < 0.99 else ""


def _for_screen(printed: BytesIO) -> bytes:
    """Make the page's picture of the one for print."""
    from PIL import Image

    buffer = BytesIO()
    with Image.open(printed) as image:
        size = (round(image.width * PAGE_DPI / PRINT_DPI), round(image.height * PAGE_DPI / PRINT_DPI))
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "webp", quality=_QUALITY)
    return buffer.getvalue()
