"""A scene to paint into, chosen with sliders alone: `SceneChooser`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as w
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.utils.check import one_of
from hdpainter_widgets.composite import CompositeWidget
from hdpainter_widgets.pictures import encoded, placeholder
from hdpainter_widgets.samples import SHAPES, bundled_pictures, shape_mask

__all__ = ["SceneChooser"]


class SceneChooser(CompositeWidget):
    """A picture, a rectangle or an ellipse on it, and a prompt; the outline follows the sliders.

    >>> chooser = SceneChooser(prompt="a red star")
    >>> chooser                                            # shows itself
    >>> job = Job(chooser.image, chooser.mask, chooser.prompt)

    Args:
        pictures: (H, W, 3) uint8 arrays by name, or functions that give one; None offers a few
            scenes of the bundled model's world and the bundled photographs.
        choice: name of the picture shown first.
        prompt: text shown first.
        box: left, top, width and height of the hole at first, in percent of the picture.
        shape: ``ellipse`` or ``rectangle``.

    Raises:
        ValueError: unknown `choice` or `shape`, or `pictures` is empty.
    """

    def __init__(
        self,
        pictures: Mapping[str, Any] | None = None,
        *,
        choice: str | None = None,
        prompt: str = "a red star",
        box: tuple[float, float, float, float] = (31, 34, 38, 38),
        shape: str = "ellipse",
    ) -> None:
        self._pictures = dict(bundled_pictures() if pictures is None else pictures)
        if not self._pictures:
            raise ValueError("there are no pictures to choose from")
        first = next(iter(self._pictures)) if choice is None else choice
        one_of("choice", first, self._pictures, ValueError)
        one_of("shape", shape, SHAPES, ValueError)
        self._loaded: dict[str, NDArray[np.uint8]] = {}
        self.source = w.Dropdown(
            description="picture", options=list(self._pictures), value=first, layout=_width()
        )
        self.text = w.Text(description="prompt", value=prompt, layout=_width())
        self.shape = w.Dropdown(
            description="hole", options=list(SHAPES), value=shape, layout=_width()
        )
        names = ("left", "top", "width", "height")
        self.sliders = {
            name: w.IntSlider(
                description=f"{name} %",
                value=round(value),
                min=0 if i < 2 else 5,
                max=95 if i < 2 else 100,
                layout=_width(),
            )
            for i, (name, value) in enumerate(zip(names, box, strict=True))
        }
        self.share = w.HTML(layout=w.Layout(margin="4px 0 0 12px"))
        self.preview = w.Image(format="jpeg", layout=w.Layout(width="300px", height="auto"))
        controls = w.VBox(
            [self.source, self.text, self.shape, *self.sliders.values(), self.share],
            layout=w.Layout(margin="0 0 0 12px"),
        )
        row = w.HBox(
            [self.preview, controls],
            layout=w.Layout(flex_flow="row wrap", align_items="flex-start"),
        )
        super().__init__(children=(row,))
        for widget in (self.source, self.shape, *self.sliders.values()):
            widget.observe(self._draw, "value")
        self._draw()

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8: the picture."""
        name = self.source.value
        if name not in self._loaded:
            given = self._pictures[name]
            self._loaded[name] = np.asarray(given() if callable(given) else given, np.uint8)
        return self._loaded[name]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: True in the hole."""
        height, width = self.image.shape[:2]
        left, top, across, down = (slider.value for slider in self.sliders.values())
        return shape_mask((height, width), (left, top, across, down), self.shape.value)

    @property
    def prompt(self) -> str:
        """What to paint there."""
        return str(self.text.value)

    def _draw(self, _change: Any = None) -> None:
        mask = self.mask
        self.preview.value = encoded(placeholder(self.image, mask))
        height, width = mask.shape
        self.share.value = f"{width} × {height} pixels, {mask.mean():.0%} of them to be painted"

    def _still(self) -> bytes:
        return bytes(self.preview.value)


def _width() -> Any:
    return w.Layout(width="360px")
