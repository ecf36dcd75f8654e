"""Look inside HD-Painter inpainting (arXiv 2312.14091): step it, branch it, see its attention.

>>> from hdpainter_nb import load, Job, Sampler
>>> sampler = Sampler(load("mini"), Job(image, mask, "a red star"))
>>> record = sampler.step()
>>> record.cross["star"], record.c[16], record.grad.hist, record.x0_preview
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdpainter_nb._version import __version__
from hdpainter_nb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from hdpainter_nb import errors, evaluation, mini, views
    from hdpainter_nb.capture.capture import Capture
    from hdpainter_nb.edits.builtin import Custom, MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
    from hdpainter_nb.edits.edit import Edit
    from hdpainter_nb.glide.job import GlideJob, GlideUpsampleJob
    from hdpainter_nb.glide.model import GlideModel, load_glide
    from hdpainter_nb.glide.sampler import GlideSampler, GlideUpsampler
    from hdpainter_nb.job import Job
    from hdpainter_nb.models.loading import load
    from hdpainter_nb.models.model import Model
    from hdpainter_nb.painting import PaintEstimate, paint, paint_cost, run_cost
    from hdpainter_nb.sampling.batch import SamplerBatch
    from hdpainter_nb.sampling.cost import Estimate
    from hdpainter_nb.sampling.sampler import Sampler
    from hdpainter_nb.sampling.watch import watch
    from hdpainter_nb.settings import BASELINES, PRESETS, Settings
    from hdpainter_nb.trace.attention import Attention
    from hdpainter_nb.trace.record import Record
    from hdpainter_nb.trace.trace import Trace
    from hdpainter_nb.upscale.ablation import upscale_ablation, upscale_variants
    from hdpainter_nb.upscale.job import UpscaleJob
    from hdpainter_nb.upscale.model import load_upscaler
    from hdpainter_nb.upscale.upscaler import Upscaler
    from hdpainter_nb.utils.files import data_path

# Where each public name lives. It is imported when first asked for, so that this package opens at
# once and reading a trace or drawing it never loads torch.
_HOMES = {
    "BASELINES": "settings",
    "PRESETS": "settings",
    "Attention": "trace.attention",
    "Capture": "capture.capture",
    "Custom": "edits.builtin",
    "Edit": "edits.edit",
    "Estimate": "sampling.cost",
    "GlideJob": "glide.job",
    "GlideModel": "glide.model",
    "GlideSampler": "glide.sampler",
    "GlideUpsampleJob": "glide.job",
    "GlideUpsampler": "glide.sampler",
    "Job": "job",
    "Model": "models.model",
    "MoveMask": "edits.builtin",
    "PaintEstimate": "painting",
    "Record": "trace.record",
    "ReplaceWord": "edits.builtin",
    "Sampler": "sampling.sampler",
    "SamplerBatch": "sampling.batch",
    "ScaleHead": "edits.builtin",
    "ScaleWord": "edits.builtin",
    "SetC": "edits.builtin",
    "Settings": "settings",
    "Trace": "trace.trace",
    "UpscaleJob": "upscale.job",
    "Upscaler": "upscale.upscaler",
    "data_path": "utils.files",
    "load": "models.loading",
    "load_glide": "glide.model",
    "load_upscaler": "upscale.model",
    "paint": "painting",
    "paint_cost": "painting",
    "run_cost": "painting",
    "upscale_ablation": "upscale.ablation",
    "upscale_variants": "upscale.ablation",
    "watch": "sampling.watch",
}
_MODULES = ("errors", "evaluation", "mini", "views")

__all__ = [
    "BASELINES",
    "PRESETS",
    "Attention",
    "Capture",
    "Custom",
    "Edit",
    "Estimate",
    "GlideJob",
    "GlideModel",
    "GlideSampler",
    "GlideUpsampleJob",
    "GlideUpsampler",
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
    "evaluation",
    "load",
    "load_glide",
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


__getattr__, __dir__ = lazy_names(__name__, _HOMES, _MODULES)
