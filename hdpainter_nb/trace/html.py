"""A run as one page of HTML that needs neither a kernel nor a network.

The file holds the steps (see `hdpainter_nb.trace.web`) as json and base64, and the script and style
that show it. Its content security policy forbids any request. What people typed is text in it,
never markup.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdpainter_nb.trace import web
from hdpainter_nb.trace.tree import Tree
from hdpainter_nb.utils.files import replacing

__all__ = ["write_page"]

_STATIC = Path(__file__).parents[1] / "static"
_POLICY = (
    "default-src 'none'; img-src blob: data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="page"></div>
<noscript><h1>{title}</h1>{picture}<p>The steps and maps in this file are shown by a script.</p>
</noscript>
<script type="application/json" id="film">{data}</script>
{buffers}
<script type="module">{script}</script>
</body>
</html>
"""


def write_page(
    path: str | Path,
    traces: Sequence[Tree],
    *,
    title: str | None = None,
    maps: bool = True,
) -> Path:
    """Write traces to one file of HTML.

    An existing file is replaced at once, and only when the new one is complete.

    Args:
        path: by habit ``*.html``.
        traces: one, or two to be compared.
        title: of the page; None takes the first prompt.
        maps: with attention maps and previews; without, the file is much smaller and shows
            numbers and decoded pictures only.

    Raises:
        TypeError: `title` is not a string.
        ValueError: not one or two traces.
        OSError: the file cannot be written.
    """
    if not 1 <= len(traces) <= 2:
        raise ValueError(f"A page shows one trace or two, not {len(traces)}.")
    if title is None:
        title = next((b.prompt for b in traces[0].branches.values() if b.prompt), "HD-Painter")
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, not {type(title).__name__}.")
    runs, parts = [], []
    for number, trace in enumerate(traces):
        buffers: list[bytes] = []
        run = web.run_message(trace, buffers)
        steps = [
            web.step_message(node, buffers, maps=maps, picture=trace.pictures.get(node.id))
            for node in sorted(trace.nodes.values(), key=lambda node: node.id)
            if node.record is not None
        ]
        runs.append({"opening": run, "frames": steps, "lengths": [*map(len, buffers)]})
        code = base64.b64encode(b"".join(buffers)).decode()
        kind = "application/octet-stream;base64"
        parts.append(f'<script type="{kind}" id="buffers-{number}">{code}</script>')
    text = _PAGE.format(
        policy=_POLICY,
        title=html.escape(title),
        style=_inert(_read("page.css"), "style"),
        picture=_picture(traces[0]),
        data=_json({"title": title, "films": runs}),
        buffers="\n".join(parts),
        script=_inert(_read("page.js"), "script"),
    )
    with replacing(path) as part:
        part.write_bytes(text.encode(errors="replace"))
    return Path(path)


def _json(value: Any) -> str:
    """Json that cannot end the script element that it stands in."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _inert(code: str, element: str) -> str:
    """A script or style that cannot end its element, nor begin a comment in it."""
    code = re.sub(rf"</(?={element})", r"<\\/", code, flags=re.IGNORECASE)
    return code.replace("<!--", "<\\!--")


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _picture(trace: Tree) -> str:
    """An <img> of the newest picture, for browsers that run no scripts."""
    picture = None
    for branch in reversed(trace.branches):
        records = trace.records(branch)
        picture = trace.picture(branch)
        if picture is None and records:
            picture = records[-1].x0_preview
        if picture is not None:
            break
    else:
        picture = trace.image
    if picture is None:
        return ""
    buffers: list[bytes] = []
    image = web.encode_image(picture, buffers)
    code = base64.b64encode(buffers[0]).decode()
    return f'<img alt="The newest picture" src="data:{image["mime"]};base64,{code}">'
