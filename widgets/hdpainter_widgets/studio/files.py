"""A run as files to download."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ipywidgets as w

from hdpainter_nb.errors import HDPainterError, SettingsError, TraceError

__all__ = ["SUFFIXES", "Files", "check", "download", "free_path", "offer", "stem_of", "write"]

SUFFIXES = {".png": "image/png", ".hdp": "application/octet-stream", ".html": "text/html"}
"""What can be written, and its media type."""
_LARGEST_LINK = 8_000_000  # bytes: a link holds the whole file, and so does the notebook


def write(sampler: Any, path: str | Path, size: str = "original") -> Path:
    """Write what the suffix of `path` says.

    ``.png`` is the picture pasted back into the original around the hole, ``.hdp`` the trace,
    ``.html`` a page that shows the run without a kernel. Call it on the model's thread: a picture
    is decoded, and a trace must not grow meanwhile.

    Args:
        sampler: a `Sampler`, or an `Upscaler`, whose picture has the original's size anyway.
        path: where to.
        size: of a sampler's picture: ``original``, that of the picture as it was given, or
            ``model``, that which the model worked at.

    Raises:
        ValueError: another suffix.
        SettingsError: nothing to save yet.
    """
    path = check(path)
    if not sampler.records:
        raise SettingsError("There is nothing to save before the first step: press ▶ first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        from hdpainter_nb import views

        # An upscaler's own settings say whether Poisson's equation is used.
        if hasattr(sampler.job, "low"):
            return views.save_png(sampler.image(paste=True), path)
        return views.save_png(sampler.image(paste="poisson", size=size), path)
    if path.suffix == ".hdp":
        return Path(sampler.trace.save(path))
    to_html = getattr(sampler.trace, "to_html", None)
    if to_html is None:
        raise TraceError("This version of the library cannot write pages.")
    to_html(path)
    return path


def check(path: str | Path) -> Path:
    """The path, if its suffix is one of `SUFFIXES`.

    Raises:
        ValueError: it is not.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        suffixes = ", ".join(SUFFIXES)
        raise ValueError(f"The name {path.name!r} should end in one of {suffixes}.")
    return path


def stem_of(prompt: str) -> str:
    """A file name for a prompt: ``a-red-star``."""
    words = re.findall(r"[^\W_]+", prompt.lower())
    return "-".join(words)[:40].strip("-") or "run"


def free_path(stem: str, suffix: str, folder: Path | None = None) -> Path:
    """``stem.suffix``, or ``stem-2.suffix`` and so on where that exists already."""
    folder = Path.cwd() if folder is None else folder
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def offer(sampler: Any, path: Path, size: str = "original") -> str:
    """Write, and say as html what came of it: a `download` link, or why there is no file."""
    try:
        return download(write(sampler, path, size))
    except (HDPainterError, OSError) as error:
        return f"<span class='hdp-wrong'>{html.escape(str(error))}</span>"


def download(path: Path) -> str:
    """HTML: a link that holds the file if it is small, and where it lies on disk."""
    size = path.stat().st_size
    where = f"<code>{html.escape(str(path))}</code>"
    if size > _LARGEST_LINK:
        return f"Saved as {where} ({size / 1e6:.0f} MB, too large to hold in a link)"
    data = b64encode(path.read_bytes()).decode()
    name = html.escape(path.name, quote=True)
    address = f"data:{SUFFIXES[path.suffix]};name={quote(path.name)};base64,{data}"
    size_text = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"
    link = f"<a download='{name}' href='{address}'>Download {name}</a>"
    return f"{link} ({size_text}) · saved as {where}"


class Files:
    """A name, a button for each kind of file, and what came of it.

    Args:
        save: called as ``save(stem, suffix)``.

    Attributes:
        which: whether the run is saved (``run``), or what was made four times as large (``x4``);
            on display once there is a choice.
        size: whether the picture is saved at its own size (``original``) or at the one that the
            model works at (``model``); on display where they differ.
    """

    def __init__(self, save: Callable[[str, str], object]) -> None:
        self.name = w.Text(
            description="save as",
            style={"description_width": "initial"},
            layout=w.Layout(width="240px"),
        )
        kinds = {
            ".png": ("Save PNG", "The picture, the original pasted back around the hole"),
            ".hdp": ("Save trace", "Everything seen in every step: Trace.load opens it"),
            ".html": ("Save page (HTML)", "The run as one page that needs no kernel, to send"),
        }
        self.buttons = {}
        for suffix in SUFFIXES:
            text, tooltip = kinds[suffix]
            button = w.Button(
                description=text, tooltip=tooltip, icon="download", layout=w.Layout(width="auto")
            )
            button.on_click(lambda _button, suffix=suffix: save(self.stem, suffix))
            self.buttons[suffix] = button
        self.told = w.HTML()
        self.which = w.Dropdown(
            description="of",
            options=[("the run", "run"), ("the ×4 picture", "x4")],
            value="run",
            style={"description_width": "initial"},
            layout=w.Layout(width="166px", display="none"),
        )
        self.size = w.Dropdown(
            description="PNG at",
            options=[("the picture's size", "original"), ("the model's size", "model")],
            value="original",
            style={"description_width": "initial"},
            layout=w.Layout(width="auto", display="none"),
        )
        row = w.HBox(
            [self.name, self.which, self.size, *self.buttons.values(), self.told],
            layout=w.Layout(flex_flow="row wrap", align_items="center"),
        )
        self.panel = row
        self._prompt = ""

    @property
    def stem(self) -> str:
        """The name to save under, without suffix; no folders."""
        name = self.name.value.strip().replace("/", "-").replace("\\", "-").strip(".")
        return name or stem_of(self._prompt)

    def offer_large(self, ready: bool) -> None:
        """Offer the large picture, and take it to be what is wanted; or offer it no more."""
        if ready != (self.which.layout.display is None):
            self.which.layout.display = None if ready else "none"
            self.which.value = "x4" if ready else "run"

    def tell_sizes(self, own: tuple[int, int], worked: tuple[int, int]) -> None:
        """Say how large the file will be: (height, width) of the picture, and of the model's."""
        texts = [f"{width} × {height} px" for height, width in (own, worked)]
        options = [
            (f"{texts[0]} (the picture's size)", "original"),
            (f"{texts[1]} (the model's size)", "model"),
        ]
        if tuple(self.size.options) != tuple(options):
            value = self.size.value
            self.size.options = options
            self.size.value = value
        display = "none" if own == worked else None
        if self.size.layout.display != display:
            self.size.layout.display = display

    def suggest(self, prompt: str) -> None:
        """Name it after the prompt, unless a person has named it."""
        if self.name.value.strip() in ("", stem_of(self._prompt)):
            self.name.value = stem_of(prompt)
        self._prompt = prompt

    def say(self, text: str) -> None:
        """Show html below the buttons."""
        self.told.value = f"<span class='hdp-note'>{text}</span>" if text else ""
