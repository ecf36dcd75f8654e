"""A bundled widget alone on a page: `BarePage`."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

__all__ = ["LONG", "BarePage"]

LONG = 120_000  # milliseconds; a busy machine takes its time

# What anywidget is to a widget, as little as will do. Bytes travel as base64.
_FAKE = """
const coded = (value) => value instanceof DataView
  ? {b64: btoa(Array.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
      (byte) => String.fromCharCode(byte)).join(""))}
  : value;
const plain = (value) => value && value.b64 !== undefined
  ? new DataView(Uint8Array.from(atob(value.b64), (c) => c.charCodeAt(0)).buffer)
  : value;
class Model {
  constructor(state) { this.state = {}; this.handlers = []; this.dirty = {}; this.take(state); }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    this.dirty[name] = value;
    this.tell(`change:${name}`);
  }
  save_changes() {
    const state = Object.fromEntries(Object.entries(this.dirty).map(([k, v]) => [k, coded(v)]));
    this.dirty = {};
    toPython(JSON.stringify({method: "update", state}));
  }
  send(content, _callbacks, buffers = []) {
    const given = buffers.map((b) => coded(new DataView(b)));
    toPython(JSON.stringify({method: "custom", content, given}));
  }
  on(event, handler) { this.handlers.push([event, handler]); }
  off(event, handler) {
    this.handlers = this.handlers.filter(([e, h]) => e !== event || h !== handler);
  }
  tell(event, ...args) { for (const [e, h] of [...this.handlers]) if (e === event) h(...args); }
  take(state) {
    for (const [name, value] of Object.entries(state)) this.state[name] = plain(value);
    for (const name of Object.keys(state)) this.tell(`change:${name}`);
  }
}
window.start = async (source, css, state) => {
  document.head.append(Object.assign(document.createElement("style"), {textContent: css}));
  const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
  const {default: widget} = await import(url);
  window.model = new Model(state);
  window.done = widget.render({model, el: document.getElementById("cell")});
};
"""


class BarePage:
    """One widget on a page of its own: its Python side is real, all between is a stand-in.

    Args:
        page: of Playwright.
        widget: made by anywidget; what it sends is taken to the page by `deliver`.
        around: html with an element of the id ``cell``, into which the widget is drawn.
    """

    def __init__(self, page: Any, widget: Any, around: str = '<div id="cell"></div>') -> None:
        self.page, self.widget = page, widget
        self.outbox: list[dict[str, Any]] = []
        widget._send = self._queue
        page.expose_function("toPython", self._receive)
        page.set_content(around)
        page.add_script_tag(content=_FAKE)
        state = {name: _coded(value) for name, value in widget.get_state().items()}
        page.evaluate(
            "([source, css, state]) => start(source, css, state)",
            [str(widget._esm), str(widget._css), state],
        )

    def deliver(self) -> None:
        """What Python sent, to the page."""
        while self.outbox:
            message = self.outbox.pop(0)
            buffers = [_coded(b) for b in message["buffers"]]
            if message["method"] == "update":
                state = {name: _coded(value) for name, value in message["state"].items()}
                paths = message.get("buffer_paths", [])
                state |= {path[0]: b for path, b in zip(paths, buffers, strict=True)}
                self.page.evaluate("(state) => model.take(state)", state)
            elif message["method"] == "custom":
                self.page.evaluate(
                    "([content, buffers]) => model.tell('msg:custom', content, buffers.map(plain))",
                    [message["content"], buffers],
                )

    def until(self, holds: Callable[[], Any]) -> None:
        """Wait, with messages going both ways."""
        end = time.monotonic() + LONG / 1000
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            self.page.wait_for_timeout(20)
            self.deliver()

    def _queue(self, msg: dict[str, Any], buffers: Any = None) -> None:
        self.outbox.append({**msg, "buffers": [bytes(b) for b in buffers or ()]})

    def _receive(self, text: str) -> None:
        data = json.loads(text)
        buffers = [memoryview(base64.b64decode(b["b64"])) for b in data.pop("given", ())]
        paths = []
        for name, value in list(data.get("state", {}).items()):
            if isinstance(value, dict) and "b64" in value:
                buffers.append(memoryview(base64.b64decode(value["b64"])))
                paths.append([name])
                del data["state"][name]
        message = {"content": {"data": {**data, "buffer_paths": paths}}, "buffers": buffers}
        self.widget._handle_msg(message)


def _coded(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"b64": base64.b64encode(value).decode()}
    return value
