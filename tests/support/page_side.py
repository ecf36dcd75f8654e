"""What a page does to a widget: the one place where tests use its private names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["handle", "hear", "mimebundle", "set_by_page", "synced"]


def hear(widget: Any, content: Any, buffers: Sequence[Any] = ()) -> None:
    """A custom message, as the browser sends it."""
    data = {"method": "custom", "content": content}
    widget._handle_msg({"content": {"data": data}, "buffers": list(buffers)})


def handle(widget: Any, content: Any, buffers: Any = None) -> None:
    """As `hear`; but what the handler raises is raised here, not logged by ipywidgets."""
    widget._heard(widget, content, buffers)


def set_by_page(widget: Any, state: Mapping[str, Any], **large: bytes) -> None:
    """Traits as the browser sets them; `large` are those whose bytes travel in buffers."""
    paths = [[name] for name in large]
    data = {"method": "update", "state": dict(state), "buffer_paths": paths}
    buffers = [memoryview(value) for value in large.values()]
    widget._handle_msg({"content": {"data": data}, "buffers": buffers})


def synced(widget: Any, name: str) -> Any:
    """A trait that only the page reads: `name` is ``run`` for ``_run``."""
    assert f"_{name}" in widget.traits(sync=True)
    return getattr(widget, f"_{name}")


def mimebundle(widget: Any) -> dict[str, Any]:
    """What a cell shows, by media type."""
    bundle = widget._repr_mimebundle_()
    return bundle[0] if isinstance(bundle, tuple) else bundle
