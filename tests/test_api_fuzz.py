"""Every public function, constructor and method, given anything: fine, or one clear sentence.

One right call of each is made wrong in one or two arguments. What is accepted is used. `FUZZ` in
the environment multiplies how many are tried (1: some ten seconds), `FUZZ_SEED` tries others.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import functools
import inspect
import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import fuzz
from support.odd_values import OddError, near, odd, odd_text
from support.public import public_functions

INPUTS = 350
MEGABYTES = 500  # that one call may take beside what the process had
ROOM = 12 * 2**30  # addresses of the process, torch's own included; beyond, a MemoryError
SECONDS = 20.0  # with room for a machine that many share
Rng = np.random.Generator
OURS = (ValueError, TypeError, KeyError, IndexError, OSError, NotImplementedError)
"""What a statement of our own may raise beside our own classes: as documented."""

OFTEN = ("Job.__init__", "Job.replace", "Settings.__init__", "Capture.__init__", "branch", "watch")
"""Ends of names: what takes most of what a person gives is tried more often."""
GIVEN = ("self.functions[", "self.value(c", "picture(r)")
"""Where functions that were given are called: what they raise is their own."""

APART = {
    # name or its beginning -> why it is not called here
    "hdpainter_nb.evaluation.": "works on folders; tests/evaluation/ and the command's tests",
    "hdpainter_nb.trace.": "tests/trace/ has a fuzz test of its own",
    "hdpainter_nb.models.model.Model.__init__": "made by `load` and `from_unet`",
    "hdpainter_nb.models.loading.load": "tests/models/ tries what can be loaded",
    "hdpainter_nb.glide.": "tests/glide/ and tests/models/glide/; its base classes are called here",
    "hdpainter_nb.upscale.model.load_upscaler": "tests/models/ tries what can be loaded",
    "hdpainter_nb.capture.capture.Capture.transfer": "a sampler calls it with what it has",
    "hdpainter_nb.edits.edit.Edit.": "an edit's methods are called by a step",
    "hdpainter_nb.edits.builtin.": "an edit's methods are called by a step",
    "hdpainter_nb.mini.world.sets.": "paints two hundred scenes",
}
CALLED = {
    "hdpainter_nb.edits.builtin." + name
    for name in (
        "Custom.__init__",
        "ScaleWord.__init__",
        "ReplaceWord.__init__",
        "ScaleHead.__init__",
        "SetC.__init__",
        "MoveMask.__init__",
    )
} | {"hdpainter_nb.mini.world.sets.triple"}


def functions() -> dict[str, Any]:
    """What is called here, by full name."""
    return {
        name: function
        for name, function in public_functions()
        if name in CALLED or not any(name.startswith(one) for one in APART)
    }


class World:
    """Models, jobs and runs that calls are made with, all small."""

    def __init__(self, folder: Path) -> None:
        from diffusers import StableDiffusionInpaintPipeline

        import hdpainter_nb as hd
        from support import builders

        self.folder, self.hd = folder, hd
        self.model = hd.load(builders.make_folder(folder / "sd15"))
        self.pipe = StableDiffusionInpaintPipeline.from_pretrained(str(folder / "sd15"))
        self.upscale_model = hd.load_upscaler(builders.make_upscaler_folder(folder / "x4"))
        rng = np.random.default_rng(0)
        self.image = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        self.mask = np.zeros((128, 128), bool)
        self.mask[32:96, 32:96] = True
        self.job = hd.Job(self.image, self.mask, "a red star", steps=3, seed=3)
        self.upscale_job = hd.UpscaleJob(
            self.image[:64, :64], self.image, self.mask, "a red star", steps=2
        )
        self.capture = hd.Capture.standard()
        self.sampler = hd.Sampler(self.model, self.job)
        self.sampler.run(2)
        self.record = self.sampler.records[-1]
        self.upscaler = hd.Upscaler(self.upscale_model, self.upscale_job)
        self.upscaler.run(1)
        self.right = hd.Sampler(self.model, self.job)
        self.expected = self.right.run(1).x0_latents
        self.processors = dict(self.model.unet.attn_processors)

    def fresh(self) -> Any:
        """A sampler that has made a step, on a tree of its own."""
        job = self.job.replace(rasg=False)
        sampler = self.hd.Sampler(self.model, job, self.hd.Capture.nothing())
        sampler.step()
        return sampler

    def is_sound(self) -> bool:
        """Whether a run gives the same numbers as ever, and nothing is left in the UNet."""
        import torch

        again = self.hd.Sampler(self.model, self.job).step().x0_latents
        hooks = self.model.unet._forward_hooks or self.model.unet._forward_pre_hooks
        same = dict(self.model.unet.attn_processors) == self.processors
        return (
            np.array_equal(again, self.expected)
            and not hooks
            and same
            and (torch.is_grad_enabled())
        )


# --- right calls -----------------------------------------------------------------------------


def receiver(kind: str, world: World) -> Any:
    """The object whose method is called."""
    hd = world.hd
    made: dict[str, Callable[[], Any]] = {
        "Capture": lambda: world.capture,
        "Site": lambda: hd.edits.Site(
            step=0, timestep=1, words=world.sampler.cond.words, tokens=world.sampler.cond.tokens
        ),
        "Run": lambda: hd.edits.Run(
            total=3,
            layers={"mid": {"cross": 8, "self": 8}},
            settings=world.job.settings,
            words=world.sampler.cond.words,
            tokens=world.sampler.cond.tokens,
        ),
        "BaseJob": lambda: world.job,
        "Job": lambda: world.job,
        "UpscaleJob": lambda: world.upscale_job,
        "BaseSampler": world.fresh,
        "Sampler": lambda: world.sampler,
        "SamplerBatch": lambda: hd.SamplerBatch.of([world.fresh(), world.fresh()]),
        "Upscaler": lambda: world.upscaler,
        "Model": lambda: world.model,
        "BaseSettings": lambda: world.job.settings,
        "Settings": lambda: world.job.settings,
    }
    return made[kind]()


def right_values(world: World) -> dict[str, Callable[[], Any]]:
    """By the name of a parameter, or of a function and its parameter."""
    import torch
    from PIL import Image

    hd, sampler = world.hd, world.sampler
    estimate = functools.partial(hd.Estimate, 1, 1, 1, 1, 1)
    scene = hd.mini.scene(3)
    pil = Image.fromarray(world.image)
    picture = world.image
    return {
        "a": lambda: picture,
        "alpha": lambda: 0.5,
        "at_once": lambda: 1,
        "attention": lambda: "cross",
        "b": lambda: picture,
        "background": lambda: scene.background,
        "betas": lambda: torch.linspace(0.001, 0.01, 100),
        "boxes": lambda: [(0, 0, 16, 16)],
        "branch": lambda: 0,
        "budget": lambda: "1 GB",
        "by": lambda: "star",
        "c": lambda: lambda c, site: c,
        "Capture.__init__.c": lambda: True,
        "c_smoothing": lambda: "none",
        "capture": lambda: world.capture,
        "color": lambda: "red",
        "colormap": lambda: "jet",
        "columns": lambda: 2,
        "Table.__init__.columns": lambda: ("a", "b"),
        "cond": lambda: sampler.cond,
        "capture_bytes": lambda: 1,
        "context": lambda: 2.0,
        "control": lambda: None,
        "count": lambda: 4,
        "Capture.__init__.cross": lambda: "mean",
        "crop": lambda: (0, 0, 128, 128),
        "paint.crop": lambda: True,
        "paint_cost.crop": lambda: True,
        "digits": lambda: 2,
        "dtype": lambda: torch.float32,
        "Capture.__init__.dtype": lambda: "float16",
        "Capture.__init__.device": lambda: "cpu",
        "Estimate.__init__.dtype": lambda: "float32",
        "edit": lambda: hd.ScaleWord("star", 2.0),
        "edits": lambda: (),
        "factor": lambda: 2.0,
        "folder": lambda: str(world.folder),
        "flops": lambda: 1,
        "fps": lambda: 5.0,
        "graph_bytes": lambda: 1,
        "half": lambda: "cond",
        "head": lambda: 0,
        "heads": lambda: [0],
        "hi": lambda: 1.0,
        "image": lambda: picture,
        "reduced.image": lambda: scene.image,
        "Scene.__init__.image": lambda: scene.image,
        "Triple.__init__.image": lambda: scene.image,
        "images": lambda: [picture, pil],
        "job": lambda: world.job,
        "upscale_ablation.job": lambda: world.upscale_job,
        "upscale_variants.job": lambda: world.upscale_job,
        "Upscaler.__init__.job": lambda: world.upscale_job,
        "kind": lambda: "standard",
        "layer_maps.kind": lambda: "c",
        "labels": lambda: ["a", "b"],
        "latents": lambda: sampler.state.latents,
        "layer": lambda: "*",
        "layers": lambda: [sampler.layers[0].name],
        "Capture.check.layers": lambda: sampler.layers,
        "Capture.bytes_per_step.layers": lambda: sampler.layers,
        "Run.__init__.layers": lambda: {"mid": {"cross": 8, "self": 8}},
        "level": lambda: 16,
        "levels": lambda: (16,),
        "lo": lambda: 0.0,
        "low": lambda: picture[:64, :64],
        "mask": lambda: world.mask,
        "Custom.__init__.mask": lambda: lambda mask, site: mask,
        "Custom.__init__.cross": lambda: lambda p, site: p,
        "Custom.__init__.heads": lambda: lambda v, site: v,
        "model": lambda: world.model,
        "upscale_ablation.model": lambda: world.upscale_model,
        "upscale_variants.model": lambda: world.upscale_model,
        "Upscaler.__init__.model": lambda: world.upscale_model,
        "n": lambda: 2,
        "name": lambda: "official",
        "from_pipeline.name": lambda: "mine",
        "objects": lambda: scene.objects,
        "other": lambda: world.job.settings,
        "ours": lambda: None,
        "paint": estimate,
        "painta": lambda: True,
        "parts": lambda: "mini",
        "path": lambda: world.folder / "out.gif",
        "save_png.path": lambda: world.folder / "out.png",
        "pattern": lambda: "mid",
        "phases": lambda: {"step": 1},
        "picture": lambda: picture,
        "filmstrip.picture": lambda: lambda record: picture,
        "pipe": lambda: world.pipe,
        "place": lambda: 0,
        "plain_flops": lambda: 1,
        "prediction_type": lambda: "epsilon",
        "preset": lambda: "paper",
        "prompt": lambda: "a red star",
        "queries": lambda: False,
        "radius": lambda: 5.0,
        "record": lambda: world.record,
        "records": lambda: sampler.records,
        "reference": lambda: "a",
        "rows": lambda: {"x": {"a": 1.0, "b": 2.0}},
        "Table.__init__.rows": lambda: (("1", "2"),),
        "Table.__init__.numeric": lambda: (True, False),
        "table.rows": lambda: [{"a": 1, "b": "x"}],
        "effects.rows": lambda: {"x": 1.0},
        "lines.panels": lambda: {"p": {"a": [1.0, 2.0]}},
        "lines.x": lambda: [0, 1],
        "samplers": lambda: [world.fresh()],
        "scale": lambda: 2,
        "scores": lambda: True,
        "screen": lambda: sampler.trace.screen("star"),
        "seed": lambda: 3,
        "seeds": lambda: 2,
        "settings": lambda: world.job.settings,
        "shape": lambda: "star",
        "Site.__init__.shape": lambda: (4, 4),
        "size": lambda: (16, 16),
        "Settings.__init__.size": lambda: "pad",
        "sort": lambda: "a",
        "state": lambda: sampler.state,
        "step": lambda: 1,
        "steps": lambda: 2,
        "thing": lambda: scene.objects[0],
        "text": lambda: 77,
        "tilt": lambda: 0.0,
        "tile": lambda: 64,
        "timestep": lambda: 500,
        "title": lambda: "a title",
        "to": lambda: world.mask,
        "tokens": lambda: ("<sot>", "a", "<eot>"),
        "Capture.__init__.tokens": lambda: ["star"],
        "Capture.where.tokens": lambda: ["star"],
        "Capture.bytes_per_step.tokens": lambda: 5,
        "total": lambda: 3,
        "trace": lambda: sampler.trace,
        "truth": lambda: scene.image,
        "unet": lambda: world.model.unet,
        "MoveMask.__init__.unet": lambda: True,
        "upscale": lambda: {"steps": 2},
        "PaintEstimate.__init__.upscale": lambda: None,
        "upscaler": lambda: None,
        "value": lambda: 0.5,
        "values": lambda: np.eye(4),
        "of_earlier_run.values": lambda: {"steps": 3},
        "variants": lambda: {"a": picture},
        "window": lambda: (slice(0, 64), slice(0, 64)),
        "word": lambda: "star",
        "words": lambda: sampler.cond.words,
        "heatmaps.words": lambda: ["star"],
        "filmstrip.words": lambda: ["star"],
        "x": lambda: 10.0,
        "y": lambda: 10.0,
    }


class Caller:
    """Makes right calls, and makes them wrong."""

    def __init__(self, world: World) -> None:
        self.world, self.values, self.functions = world, right_values(world), functions()

    def right(self, name: str, parameter: str) -> Any:
        """A right value for a parameter; a setting has its default."""
        kind, function = name.split(".")[-2:]
        for key in (f"{kind}.{function}.{parameter}", f"{function}.{parameter}", parameter):
            if key in self.values:
                return self.values[key]()
        settings = {**self.more(name, "changes"), **self.more(name, "settings")}
        if parameter in settings:
            return settings[parameter]
        signature = inspect.signature(inspect.unwrap(self.functions[name]))
        default = signature.parameters[parameter].default
        if default is not inspect.Parameter.empty:
            return default
        raise KeyError(f"{name} has a parameter {parameter!r} that this test has no value for")

    def more(self, name: str, rest: str) -> dict[str, Any]:
        """What ``**rest`` takes, by name."""
        kinds = {
            "Capture": type(self.world.capture),
            "Upscale": type(self.world.upscale_job.settings),
        }
        kind = next((k for part, k in kinds.items() if part in name), type(self.world.job.settings))
        if rest not in ("settings", "changes"):
            return {}
        return {field.name: field.default for field in dataclasses.fields(kind)}

    def bound(self, name: str, function: Any) -> Callable[..., Any]:
        module, kind, method = name.rsplit(".", 2)
        owner = getattr(sys.modules.get(module), kind, None)
        if not isinstance(owner, type):
            return function
        if method == "__init__":
            return self.world.hd.Sampler if kind == "BaseSampler" else owner
        if isinstance(vars(owner)[method], classmethod | staticmethod):
            owner = self.world.hd.Sampler if kind == "BaseSampler" else owner
            return getattr(owner, method)
        return getattr(receiver(kind, self.world), method)

    def must(self, name: str) -> dict[str, Any]:
        """Right values for what must be given.

        Raises:
            KeyError: this test has none for a new parameter.
        """
        parameters = inspect.signature(inspect.unwrap(self.functions[name])).parameters.values()
        return {
            parameter.name: self.right(name, parameter.name)
            for parameter in parameters
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            and parameter.default is parameter.empty
            and parameter.name not in ("self", "cls")
        }

    def arguments(self, name: str, function: Any, rng: Rng) -> dict[str, Any]:
        """One or two wrong ones; right ones for what else must be given, and some of what may."""
        must, may = [*self.must(name)], []
        for parameter in inspect.signature(inspect.unwrap(function)).parameters.values():
            if parameter.name in ("self", "cls") or parameter.kind is parameter.VAR_POSITIONAL:
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                may += rng.permutation(list(self.more(name, parameter.name)))[:6].tolist()
            elif parameter.name not in must:
                may.append(parameter.name)
        several = 1 + int(rng.random() < 0.2)
        wrong = rng.permutation(must + may)[:several].tolist()
        chosen = must + [one for one in may if one in wrong or rng.random() < 0.1]
        given = {one: self.right(name, one) for one in dict.fromkeys(chosen)}
        for one in wrong:
            if isinstance(given[one], str) and rng.random() < 0.3:
                given[one] = odd_text(rng)
            else:
                given[one] = odd(rng) if rng.random() < 0.6 else near(given[one], rng)
        return given

    def call(self, name: str, rng: Rng) -> Callable[[], Any]:
        """A call of a function, and what follows where it goes well."""
        function = self.functions[name]
        bound, given = self.bound(name, function), self.arguments(name, function, rng)
        use = rng.random() < 0.3

        def called() -> Any:
            result = bound(**given)
            if name.endswith("watch.watch"):
                with result as trace:
                    run = {"num_inference_steps": 1, "output_type": "latent"}
                    picture = {"image": self.world.image, "mask_image": self.world.mask}
                    size = {"height": 128, "width": 128}
                    self.world.pipe.set_progress_bar_config(disable=True)
                    self.world.pipe("a red star", **run, **size, **self.pil(picture))
                    repr(trace)
            elif use:
                self.use(result)
            return None

        called.given = given  # type: ignore[attr-defined]
        return called

    @staticmethod
    def pil(arrays: dict[str, Any]) -> dict[str, Any]:
        from PIL import Image

        return {name: Image.fromarray(array) for name, array in arrays.items()}

    def use(self, result: Any) -> None:
        """What one does with it."""
        hd, world = self.world.hd, self.world
        repr(result)
        for show in ("_repr_html_", "_repr_png_"):
            if hasattr(result, show) and not isinstance(result, type):
                getattr(result, show)()
        if isinstance(result, hd.Settings | hd.Job):
            values = result.to_dict() if isinstance(result, hd.Settings) else {}
            job = world.job.replace(**values) if values else result
            if (job.settings.long_side or 0) <= 256 and max(job.mask.shape) <= 256:
                sampler = hd.Sampler(world.model, job, hd.Capture.nothing())
                sampler.step()
                sampler.trace.save(world.folder / "run.hdp")
        elif isinstance(result, hd.Capture):
            sampler = hd.Sampler(world.model, world.job, result)
            sampler.step()
            repr(sampler.trace)
        elif isinstance(result, hd.Edit):
            branch = world.fresh().branch(edit=result)
            branch.step()
            branch.trace.save(world.folder / "run.hdp")
        elif isinstance(result, hd.Sampler) and not result.done:
            result.step()


# --- trying them -----------------------------------------------------------------------------


def problem_of(error: BaseException, ours: type[Exception]) -> str:
    """What is wrong with an error; empty where it is a clear one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = any(call in (frame.line or "") for frame in frames for call in GIVEN)
    if isinstance(error, OddError) or frames[-1].filename.endswith("odd_values.py") or own:
        return ""
    text = str(error)
    if isinstance(error, ours):
        fine = 8 < len(text) < 1500 and "\n" not in text and text.endswith((".", ")"))
        return "" if fine or "\n  " in text else "no sentence: "  # a list of layers
    return "" if isinstance(error, OURS) and fuzz.is_meant(error) else "raw: "


def try_calls(seed: int, count: int, first: int = 0) -> dict[str, Any]:
    """Make `count` calls; what came of them."""
    from hdpainter_nb.errors import HDPainterError

    warnings.simplefilter("ignore")
    outcomes: Counter[str] = Counter()
    wrong, most, slowest = [], (0.0, ""), (0.0, "")
    with tempfile.TemporaryDirectory() as temporary:
        inner = Path(temporary) / "inner"  # where relative paths and ".." lead
        inner.mkdir()
        os.chdir(inner)
        world = World(Path(temporary))
        caller = Caller(world)
        names = sorted(caller.functions)
        for name in names:
            caller.must(name)
        names += 5 * [name for name in names if name.endswith(OFTEN)]
        for number in range(first, first + count):
            rng = np.random.default_rng([seed, number])
            name = names[int(rng.integers(len(names)))]
            call = caller.call(name, rng)
            what = f"seed {seed}, number {number}: {name}({shown(call.given)})"  # type: ignore[attr-defined]
            # Where even a signal does not come through, the process ends and says where it was.
            faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
            outcome = fuzz.watched(call, SECONDS)
            faulthandler.cancel_dump_traceback_later()
            if outcome.error is None:
                outcomes["fine"] += 1
            elif problem := problem_of(outcome.error, HDPainterError):
                outcomes["raw"] += 1
                wrong.append(f"{what}: {problem}{outcome.where}")
            else:
                outcomes["refused"] += 1
            if outcome.megabytes > MEGABYTES or outcome.seconds > SECONDS:
                wrong.append(f"{what}: {outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB")
            if number % 40 == 0 and not world.is_sound():
                wrong.append(f"{what}: other numbers, or hooks left, at most 40 calls later")
                world = World(Path(temporary))
            most = max(most, (outcome.megabytes, what))
            slowest = max(slowest, (outcome.seconds, what))
        if not world.is_sound():
            wrong.append(f"other numbers, or hooks left, after {number}")
    return {"outcomes": outcomes, "wrong": wrong, "most": most, "seconds": slowest}


def shown(given: dict[str, Any]) -> str:
    from hdpainter_nb.utils.check import shown as short

    return ", ".join(f"{name}={short(value)}" for name, value in given.items())


@pytest.mark.skipif(not fuzz.CAN_MEASURE, reason="memory is measured as Linux counts it")
def test_every_call_is_fine_or_refused_in_a_sentence(tmp_path: Path) -> None:
    count = int(INPUTS * fuzz.AMOUNT)
    report = fuzz.in_a_process(__file__, count, tmp_path)
    print(report["outcomes"], report["most"], report["seconds"])
    assert not report["wrong"], "\n".join(report["wrong"][:10])
    assert min(report["outcomes"]["fine"], report["outcomes"]["refused"]) > count / 20


def test_every_function_is_called() -> None:
    """A new one has a right value for each of its parameters, or a reason why it is not called."""
    names = {name for name, _ in public_functions()}
    for apart in APART:
        assert any(name.startswith(apart) for name in names), f"{apart} is gone"
    assert names >= CALLED
    assert len(functions()) > 90


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, limit))
    report = try_calls(int(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[4:]))
    Path(sys.argv[3]).write_text(json.dumps(report))
