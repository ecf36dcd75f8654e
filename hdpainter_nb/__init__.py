"""Look inside HD-Painter inpainting (arXiv 2312.14091): step it, branch it, see its attention.

>>> from hdpainter_nb import load, Job, Sampler
>>> sampler = Sampler(load("mini"), Job(image, mask, "a red star"))
>>> record = sampler.step()
>>> record.cross["star"], record.c[16], record.grad.hist, record.x0_preview
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hdpainter_nb._version import __version__

if TYPE_CHECKING:
    from hdpainter_nb import errors, mini, views
    from hdpainter_nb.ablation import upscale_ablation, upscale_variants
    from hdpainter_nb.attention import Attention
    from hdpainter_nb.batch import SamplerBatch
    from hdpainter_nb.capture import Capture
    from hdpainter_nb.cost import Estimate, PaintEstimate
    from hdpainter_nb.editing import Edit
    from hdpainter_nb.edits import Custom, MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
    from hdpainter_nb.estimate import run_cost
    from hdpainter_nb.models import Model, load
    from hdpainter_nb.painting import paint, paint_cost
    from hdpainter_nb.resources import data_path
    from hdpainter_nb.sampler import Sampler
    from hdpainter_nb.trace import Trace
    from hdpainter_nb.types import PRESETS, Job, Record, Settings
    from hdpainter_nb.upscale import Upscaler
    from hdpainter_nb.upscale_model import UpscaleJob, load_upscaler
    from hdpainter_nb.watching import watch

# Where each public name lives. It is imported when first asked for, so that this package opens at
# once and reading a trace or drawing it never loads torch.
_HOMES = {
    "PRESETS": "types",
    "Attention": "attention",
    "Capture": "capture",
    "Custom": "edits",
    "Edit": "editing",
    "Estimate": "cost",
    "Job": "types",
    "Model": "models",
    "MoveMask": "edits",
    "PaintEstimate": "cost",
    "Record": "types",
    "ReplaceWord": "edits",
    "Sampler": "sampler",
    "SamplerBatch": "batch",
    "ScaleHead": "edits",
    "ScaleWord": "edits",
    "SetC": "edits",
    "Settings": "types",
    "Trace": "trace",
    "UpscaleJob": "upscale_model",
    "Upscaler": "upscale",
    "data_path": "resources",
    "load": "models",
    "load_upscaler": "upscale_model",
    "paint": "painting",
    "paint_cost": "painting",
    "run_cost": "estimate",
    "upscale_ablation": "ablation",
    "upscale_variants": "ablation",
    "watch": "watching",
}
_MODULES = ("errors", "mini", "views")

__all__ = [
    "PRESETS",
    "Attention",
    "Capture",
    "Custom",
    "Edit",
    "Estimate",
    "Job",
    "Model",
    "MoveMask",
    "PaintEstimate",
    "Record",
    "ReplaceWord",
    "Sampler",
    "SamplerBatch",
    "ScaleHead",
    "ScaleWord",
    "SetC",
    "Settings",
    "Trace",
    "UpscaleJob",
    "Upscaler",
    "__version__",
    "data_path",
    "errors",
    "load",
    "load_upscaler",
    "mini",
    "paint",
    "paint_cost",
    "run_cost",
    "upscale_ablation",
    "upscale_variants",
    "views",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
