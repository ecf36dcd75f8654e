"""RTMDet-tiny, the detector of the official class accuracy, for inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.metrics.weights import Weighted, contents, shared, state_dict_of
from hdpainter_nb.models.devices import pick_device
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["CLASSES", "WEIGHTS", "Detections", "RTMDet", "RTMDetNetwork", "nms"]

WEIGHTS = (
    "https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_tiny_8xb32-300e_coco/"
    "rtmdet_tiny_8xb32-300e_coco_20220902_112414-78e30dcc.pth"
)
"""The published checkpoint, which the official evaluation uses; its hash is in its name."""
CLASSES = 80
_WIDTHS = (24, 48, 96, 192, 384)  # of stem and stages; the published widths times 0.375
_OUT = 96
_STRIDES = (8, 16, 32)
_SIDE = 640
_PAD = 114
# Of blue, green and red: the network was trained on pictures as OpenCV reads them.
_MEAN = np.array((103.53, 116.28, 123.675), np.float32)
_STD = np.array((57.375, 57.12, 58.395), np.float32)
_IOU = 0.65
_MOST = 300  # detections of one picture


# --- the network: its names are those of the published checkpoint ---------------------------------


class _Conv(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)))


class _SeparableConv(nn.Module):
    """A convolution of each channel, then one over channels."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = _Conv(channels, channels, kernel, groups=channels)
        self.pointwise_conv = _Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class _Block(nn.Module):
    """3 x 3, then a separable 5 x 5."""

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = _Conv(channels, channels, 3)
        self.conv2 = _SeparableConv(channels, 5)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        return out + x if self.residual else out


class _ChannelAttention(nn.Module):
    """Each channel by a factor that all of them decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class _CSPLayer(nn.Module):
    """Half of the channels through a block, half beside it."""

    def __init__(self, inputs: int, outputs: int, residual: bool, attention: bool) -> None:
        super().__init__()
        middle = outputs // 2
        self.main_conv = _Conv(inputs, middle)
        self.short_conv = _Conv(inputs, middle)
        self.final_conv = _Conv(outputs, outputs)
        self.blocks = nn.Sequential(_Block(middle, residual))
        self.attention = _ChannelAttention(outputs) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), 1)
        return self.final_conv(self.attention(both))


class _PyramidPooling(nn.Module):
    """The strongest values in windows of several sizes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _Conv(channels, channels // 2)
        self.conv2 = _Conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pools = [F.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13)]
        return self.conv2(torch.cat([x, *pools], 1))


class _Backbone(nn.Module):
    """CSPNeXt: features at 1/8, 1/16 and 1/32."""

    def __init__(self) -> None:
        super().__init__()
        first = _WIDTHS[0]
        self.stem = nn.Sequential(
            _Conv(3, first // 2, 3, 2),
            _Conv(first // 2, first // 2, 3),
            _Conv(first // 2, first, 3),
        )
        for number in range(1, 5):
            inputs, outputs = _WIDTHS[number - 1], _WIDTHS[number]
            last = number == 4
            layers: list[nn.Module] = [_Conv(inputs, outputs, 3, 2)]
            if last:
                layers.append(_PyramidPooling(outputs))
            layers.append(_CSPLayer(outputs, outputs, residual=not last, attention=True))
            self.add_module(f"stage{number}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.get_submodule("stage1")(self.stem(x))
        features = []
        for number in (2, 3, 4):
            x = self.get_submodule(f"stage{number}")(x)
            features.append(x)
        return features


class _Neck(nn.Module):
    """CSPNeXtPAFPN: what is coarse is told to what is fine, and then back."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS[2:]

        def layer(inputs: int, outputs: int) -> _CSPLayer:
            return _CSPLayer(inputs, outputs, residual=False, attention=False)

        self.reduce_layers = nn.ModuleList([_Conv(coarse, middle), _Conv(middle, fine)])
        self.top_down_blocks = nn.ModuleList([layer(2 * middle, middle), layer(2 * fine, fine)])
        self.downsamples = nn.ModuleList([_Conv(fine, fine, 3, 2), _Conv(middle, middle, 3, 2)])
        self.bottom_up_blocks = nn.ModuleList([layer(2 * fine, middle), layer(2 * middle, coarse)])
        self.out_convs = nn.ModuleList([_Conv(width, _OUT, 3) for width in _WIDTHS[2:]])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        inner = [features[2]]
        for place, below in enumerate((features[1], features[0])):
            inner[0] = self.reduce_layers[place](inner[0])
            larger = F.interpolate(inner[0], scale_factor=2, mode="nearest")
            inner.insert(0, self.top_down_blocks[place](torch.cat((larger, below), 1)))
        outputs = [inner[0]]
        for place, above in enumerate(inner[1:]):
            smaller = self.downsamples[place](outputs[-1])
            outputs.append(self.bottom_up_blocks[place](torch.cat((smaller, above), 1)))
        return [conv(x) for conv, x in zip(self.out_convs, outputs, strict=True)]


class _Head(nn.Module):
    """RTMDetSepBNHead: convolutions that the levels share, normalisations that they do not."""

    def __init__(self) -> None:
        super().__init__()
        towers = []
        for _ in range(2):
            levels = [nn.Sequential(_Conv(_OUT, _OUT, 3), _Conv(_OUT, _OUT, 3)) for _ in _STRIDES]
            for level in levels[1:]:
                for layer, first in zip(level, levels[0], strict=True):
                    layer.conv = first.conv
            towers.append(nn.ModuleList(levels))
        self.cls_convs, self.reg_convs = towers
        self.rtm_cls = nn.ModuleList([nn.Conv2d(_OUT, CLASSES, 1) for _ in _STRIDES])
        self.rtm_reg = nn.ModuleList([nn.Conv2d(_OUT, 4, 1) for _ in _STRIDES])

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, distances = [], []
        for level, x in enumerate(features):
            kinds, sides = self.cls_convs[level](x), self.reg_convs[level](x)
            logits.append(self.rtm_cls[level](kinds))
            distances.append(self.rtm_reg[level](sides) * _STRIDES[level])
        return logits, distances


class RTMDetNetwork(nn.Module):
    """RTMDet-tiny for COCO's 80 classes (Lyu et al. 2022), 4.9 M weights.

    Written for inference from the published architecture; the names of its weights are those of
    the published checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.neck = _Neck()
        self.bbox_head = _Head()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Every class and box at every point of the three grids, fine to coarse, row by row.

        Args:
            pixels: (n, 3, h, w) float, normalised blue, green, red; sides are multiples of 32.

        Returns:
            logits (n, points, 80), and boxes (n, points, 4): left, top, right, bottom in pixels,
            not yet cut off at the border.
        """
        logits, boxes = [], []
        for stride, kinds, sides in zip(
            _STRIDES, *self.bbox_head(self.neck(self.backbone(pixels))), strict=True
        ):
            rows, columns = kinds.shape[-2:]
            y = torch.arange(rows, device=pixels.device, dtype=pixels.dtype) * stride
            x = torch.arange(columns, device=pixels.device, dtype=pixels.dtype) * stride
            points = torch.stack((x.repeat(rows), y.repeat_interleave(columns)), -1)
            away = sides.flatten(2).transpose(1, 2)  # to the left, up, to the right, down
            boxes.append(torch.cat((points - away[..., :2], points + away[..., 2:]), -1))
            logits.append(kinds.flatten(2).transpose(1, 2))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


# --- pictures in, detections out ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one picture, the surest first.

    Attributes:
        classes: (n,) int, index among COCO's 80 classes.
        scores: (n,) float32, 0..1.
        boxes: (n, 4) float32: left, top, right, bottom in pixels of the picture.
    """

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]


@checked
@dataclass(frozen=True, kw_only=True)
class RTMDet(Weighted):
    """RTMDet-tiny as a `Detector`.

    Pictures are prepared as for its published accuracy: resized to fit 640 x 640 (bilinear), padded
    at the right and below with grey.

    Attributes:
        weights: a .pth or .safetensors file with the published names, or an https address.
        channels: ``swapped`` gives the network, which expects blue first, the picture with red
            first (the official evaluation); ``rgb`` converts it rightly.
        min_score: what is less sure is left out.
        device: None takes CUDA, else MPS, else the CPU.
        batch_size: pictures in one call of the network.

    Raises:
        SettingsError: an option is not one of its choices.
    """

    weights: str = WEIGHTS
    channels: Literal["swapped", "rgb"] = "swapped"
    min_score: float = 0.05
    device: str | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        between("min_score", self.min_score, 0.001, 1)

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its answers."""
        return {
            "detector": "rtmdet-tiny",
            "weights": self.weights,
            "channels": self.channels,
            "min_score": self.min_score,
            **contents(self.weights),
        }

    def detect(self, crops: Sequence[NDArray[np.uint8]]) -> list[list[tuple[int, float]]]:
        """Classes and scores of what is in each picture, the surest first.

        Args:
            crops: (h, w, 3) uint8 RGB, of any size.

        Raises:
            EvaluationError: the weights are missing, or not RTMDet-tiny's.
        """
        return [
            [(int(k), float(s)) for k, s in zip(found.classes, found.scores, strict=True)]
            for found in self.detections(crops)
        ]

    def detections(self, crops: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """The same as `detect`, with boxes."""
        network, found = self._network, []
        device = next(network.parameters()).device
        for start in range(0, len(crops), self.batch_size):
            some = crops[start : start + self.batch_size]
            inputs, sizes = zip(*(self._prepared(crop) for crop in some), strict=True)
            with torch.inference_mode():
                logits, boxes = network(torch.from_numpy(np.stack(inputs)).to(device))
                scores = logits.sigmoid()
                for crop, one, places, size in zip(some, scores, boxes, sizes, strict=True):
                    detections = decoded(one, places, self.min_score)
                    height, width = crop.shape[:2]
                    scale = np.array((size[0] / width, size[1] / height) * 2, np.float32)
                    found.append(suppressed(detections, scale))
        return found

    def _prepared(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """(3, 640, 640) float32, and width and height of the picture in it."""
        height, width = crop.shape[:2]
        scale = _SIDE / max(height, width)
        # Half up, and never to nothing: a strip of one pixel by 2000 has a picture too.
        new = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
        resized = cv2.resize(crop, new, interpolation=cv2.INTER_LINEAR)
        if self.channels == "rgb":
            resized = resized[..., ::-1]
        square = np.full((_SIDE, _SIDE, 3), _PAD, np.float32)
        square[: new[1], : new[0]] = resized
        values = (square - _MEAN) / _STD
        return np.ascontiguousarray(values.transpose(2, 0, 1)), new

    @cached_property
    def _network(self) -> RTMDetNetwork:
        device = pick_device(self.device)
        return shared(("rtmdet", self.weights, device), lambda: load_network(self.weights, device))


def load_network(weights: str, device: torch.device) -> RTMDetNetwork:
    """The network with its weights.

    Args:
        weights: a file or an https address; tensors beside the network's own (moving averages,
            the pixels' mean) are not read.
        device: where to.

    Raises:
        EvaluationError: the weights are missing, or not RTMDet-tiny's.
    """
    digest = weights.removesuffix(".pth").rsplit("-", 1)[-1] if weights == WEIGHTS else None
    tensors = state_dict_of(weights, digest)
    own = {
        name: value
        for name, value in tensors.items()
        if not name.startswith(("data_preprocessor.", "ema_"))
    }
    with torch.device("meta"):
        network = RTMDetNetwork()
    try:
        network.load_state_dict(own, strict=True, assign=True)
    except RuntimeError as error:
        raise EvaluationError(
            f"{weights!r} is not RTMDet-tiny for COCO's {CLASSES} classes: its weights have other "
            "names or shapes."
        ) from error
    return network.float().to(device).eval().requires_grad_(False)


def decoded(scores: Tensor, boxes: Tensor, min_score: float) -> Detections:
    """The points of one picture that are sure enough, each class at each point for itself.

    Boxes are cut off at the border of the network's input, so that those in the padding remain, as
    in mmdetection. Empty ones go.

    Args:
        scores: (points, 80).
        boxes: (points, 4), in pixels of the network's input.
        min_score: scores must be greater.
    """
    places, kinds = (scores > min_score).nonzero(as_tuple=True)
    sure = scores[places, kinds].float().cpu().numpy()
    kind = kinds.cpu().numpy()
    corners = boxes[places].float().clamp(0, _SIDE).cpu().numpy()
    order = np.argsort(-sure, kind="stable")
    full = (corners[order, 2] > corners[order, 0]) & (corners[order, 3] > corners[order, 1])
    order = order[full]
    return Detections(kind[order], sure[order], corners[order])


def suppressed(found: Detections, scale: NDArray[np.float32]) -> Detections:
    """Without boxes of one class that overlap by more than 0.65, and in the picture's own pixels.

    What was not sure enough is not in `found` any more; that changes nothing, since a box is only
    ever removed by a surer one.

    Args:
        found: the surest first.
        scale: (4,), by what the coordinates of boxes were multiplied.
    """
    corners = found.boxes / scale
    chosen = nms(corners, found.classes, _IOU)[:_MOST]
    return Detections(found.classes[chosen], found.scores[chosen], corners[chosen])


def nms(
    boxes: NDArray[np.float32], classes: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Non-maximum suppression within each class.

    Args:
        boxes: (n, 4), the surest first: left, top, right, bottom.
        classes: (n,).
        threshold: a box goes if its intersection over union with a surer one of its class that
            remains is greater.

    Returns:
        Indices of those that remain, in their order.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if not alive[place]:
            continue
        rest = slice(place + 1, None)
        later = place + 1 + np.flatnonzero(alive[rest] & (classes[rest] == classes[place]))
        low = np.maximum(boxes[place, :2], boxes[later, :2])
        high = np.minimum(boxes[place, 2:], boxes[later, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        alive[later[common > threshold * (areas[place] + areas[later] - common)]] = False
    return np.flatnonzero(alive)
