"""A notebook in a browser, as a person works with it, and drawings as numpy sees them."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from browser.servers import PATIENCE, Server

__all__ = [
    "Message",
    "Notebook",
    "Stage",
    "Traffic",
    "capsule",
    "overlap",
    "pixels_of",
    "polygon",
    "until",
]

_RAN = re.compile(r"^\[\d+\]")


def until(holds: Callable[[], Any], page: Any, what: str = "", seconds: float = PATIENCE) -> Any:
    """What `holds` gives once that is true; the page goes on living meanwhile."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what or holds}"
        page.wait_for_timeout(50)
    return found


@dataclass(frozen=True)
class Message:
    """One of Jupyter's messages, without its buffers."""

    kind: str  # "comm_msg", "execute_request", ...
    content: dict[str, Any]

    @classmethod
    def of(cls, frame: str | bytes) -> Message:
        """From a frame of the socket: json, or parts after a table of their places."""
        if isinstance(frame, str):
            whole = json.loads(frame)
            return cls(whole["header"]["msg_type"], whole["content"])
        words = np.frombuffer(frame, "<u8", 1 + int.from_bytes(frame[:8], "little"))
        places = [int(word) for word in words[1:]]
        # Channel, header, parent's header, metadata, content, buffers.
        header, content = (json.loads(frame[places[i] : places[i + 1]]) for i in (1, 4))
        return cls(header["msg_type"], content)

    @property
    def data(self) -> dict[str, Any]:
        """What a widget says: its method, and a state or a content of its own."""
        return dict(self.content.get("data", {})) if self.kind == "comm_msg" else {}


class Traffic:
    """What passes between a page and its kernel.

    Attributes:
        sent, received: all messages, oldest first.
        connected: whether the kernel has answered the page that is loaded now.
    """

    def __init__(self, page: Any) -> None:
        self.sent: list[Message] = []
        self.received: list[Message] = []
        self.connected = False
        page.on("websocket", self._opened)

    def _opened(self, socket: Any) -> None:
        if "/channels" in socket.url:
            socket.on("framesent", lambda frame: self.sent.append(Message.of(frame)))
            socket.on("framereceived", self._received)

    def _received(self, frame: str | bytes) -> None:
        message = Message.of(frame)
        self.received.append(message)
        self.connected |= message.kind == "kernel_info_reply"


class Notebook:
    """One notebook, open in JupyterLab or Notebook 7.

    Args:
        page: of Playwright.
        server: has the notebook in its folder.
        name: the notebook's file name.
    """

    def __init__(self, page: Any, server: Server, name: str) -> None:
        self.page, self.server, self.name = page, server, name
        self.traffic = Traffic(page)
        page.goto(server.page(name))
        self._loaded()

    def _loaded(self) -> None:
        self.cells.first.wait_for()
        # Earlier, running a cell would empty it and do nothing else.
        until(lambda: self.traffic.connected, self.page, "the kernel to answer the page")

    @property
    def cells(self) -> Any:
        """All cells, from the top."""
        return self.page.locator(".jp-Notebook .jp-Cell")

    def start(self, index: int, keys: str = "Control+Enter") -> None:
        """Run a cell as a person does, and do not wait."""
        self.cells.nth(index).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press(keys)

    def run(self, index: int, keys: str = "Control+Enter") -> str:
        """Run a cell and wait for its end; gives the text of its output.

        Raises:
            AssertionError: the cell raised an exception; the message is the traceback.
        """
        cell = self.cells.nth(index)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        self.start(index, keys)
        until(
            lambda: (now := prompt.inner_text()) != before and _RAN.match(now),
            self.page,
            f"cell {index} to end",
        )
        failed = cell.locator('[data-mime-type="application/vnd.jupyter.error"]')
        assert failed.count() == 0, failed.all_inner_texts()
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())

    def save(self) -> None:
        """Save the notebook and wait until the file holds its outputs."""
        file = self.server.folder / self.name
        before = file.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        until(lambda: file.stat().st_mtime_ns != before, self.page, "the notebook to be saved")

    def reload(self) -> None:
        """Load the page again; the kernel goes on."""
        self.traffic.connected = False
        self.page.reload()
        self._loaded()


class Stage:
    """A painter's picture on the page.

    Args:
        page: of Playwright.
        size: height and width of the picture in pixels.
    """

    def __init__(self, page: Any, size: tuple[int, int]) -> None:
        self.page, self.size = page, size
        self.surface = page.get_by_role("application", name=re.compile("^Picture of "))
        self.surface.wait_for()
        self.surface.scroll_into_view_if_needed()
        # Canvases get their size from the element's, an animation frame later.
        until(lambda: self.surface.bounding_box()["width"] > 50, page, "the painter's place")

    @property
    def scale(self) -> float:
        """Pixels of the page to one of the picture, while it is fitted."""
        box, (height, width) = self.surface.bounding_box(), self.size
        return float(min(box["width"] / width, box["height"] / height))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture lies on the page, while the picture is fitted."""
        box, (height, width) = self.surface.bounding_box(), self.size
        left = box["x"] + (box["width"] - width * self.scale) / 2
        top = box["y"] + (box["height"] - height * self.scale) / 2
        return left + x * self.scale, top + y * self.scale

    def drag(self, *points: tuple[float, float]) -> None:
        """Press at the first point, go on to the others, release."""
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=6)
        mouse.up()

    def click(self, x: float, y: float) -> None:
        """Click on a point of the picture."""
        self.page.mouse.click(*self.at(x, y))

    def colors(self, *points: tuple[float, float]) -> NDArray[np.uint8]:
        """(points, 3): what the screen shows at points of the picture."""
        image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return np.array([image.getpixel(tuple(map(int, self.at(*p)))) for p in points], np.uint8)


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def _centres(size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    return columns, rows


def capsule(
    size: tuple[int, int], a: tuple[float, float], b: tuple[float, float], radius: float
) -> NDArray[np.bool_]:
    """(H, W): pixels whose centres are at most `radius` from the line between a and b."""
    x, y = _centres(size)
    along = np.subtract(b, a)
    share = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-9)
    share = share.clip(0, 1)
    return np.asarray(np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1]) <= radius)


def polygon(size: tuple[int, int], corners: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """(H, W): pixels whose centres lie inside, by the even-odd rule."""
    x, y = _centres(size)
    inside = np.zeros(size, bool)
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if ay != by:
            crosses = (ay > y) != (by > y)
            inside ^= crosses & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside


def pixels_of(canvas: Any) -> str:
    """A digest of what a canvas shows."""
    return str(
        canvas.evaluate("""async (canvas) => {
        const bytes = new TextEncoder().encode(canvas.toDataURL());
        let hash = 5381;
        for (const byte of bytes) hash = (hash * 33 + byte) >>> 0;
        return `${canvas.width}x${canvas.height}:${bytes.length}:${hash}`;
    }""")
    )
