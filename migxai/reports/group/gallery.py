"""From a figure to what is shown and what is kept: inline in the page, and as SVG and 300 dpi PNG beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    `name` is that of its files in ``group/figures``, without extension; `title` says what it is, `words` what it shows.
    `source` is a data address, empty where the page has no more room; `width` is the largest share of the page's width,
    such as ``50%``, empty for all of it.
    """

    name: str
    title: str
    words: str
    source: str
    width: str = ""
    print_dpi: int = PRINT_DPI


@dataclass
class Gallery:
    """Keeps figures as files, and counts the bytes that pictures may still take in the page (`room`).

    `folder` is ``group/figures``; of made-up data (`simulated`) every picture says so.
    """

    folder: Path
    simulated: bool = False
    room: int = ROOM
    names: list[str] = field(default_factory=list)

    def add(self, drawn: Drawn, name: str, title: str, *, inline: Literal["svg", "webp"] = "svg") -> Picture:
        """Keep a figure, made inside `drawing_style`, as files of this name; returns it as the page shows it.

        The page holds lines as SVG, and pictures of brains as WebP.
        """
        figure, words = drawn
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
        kind, content = ("svg+xml", path.read_bytes()) if inline == "svg" else ("webp", _for_screen(buffer))
        code = base64.b64encode(content).decode()
        self.room -= len(code)
        source = f"data:image/{kind};base64,{code}" if self.room >= 0 else ""
        # Figures narrower than the page are not blown up to its width.
        share = figure.get_figwidth() / WIDTH
        return Picture(name, title, words, source, f"{share:.0%}" if share < 0.99 else "", PRINT_DPI)

    def add_if_drawn(self, drawn: Drawn | None, name: str, title: str) -> Picture | None:
        """Keep a figure if there is one."""
        return None if drawn is None else self.add(drawn, name, title)

    def remove_others(self) -> None:
        """Remove figures of an earlier report, which would be taken for this one's."""
        for path in self.folder.glob("*"):
            if path.suffix in (".svg", ".png") and path.stem not in self.names:
                path.unlink()


def _for_screen(printed: BytesIO) -> bytes:
    """Make the page's picture of the one for print."""
    from PIL import Image

    buffer = BytesIO()
    with Image.open(printed) as image:
        size = (round(image.width * PAGE_DPI / PRINT_DPI), round(image.height * PAGE_DPI / PRINT_DPI))
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "webp", quality=_QUALITY)
    return buffer.getvalue()
