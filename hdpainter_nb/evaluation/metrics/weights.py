"""Weights for metrics: found in a folder, on the hub or at an address, and loaded once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import torch

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.utils.messages import because, quiet_logging

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Weighted",
    "contents",
    "hub_json",
    "pretrained",
    "shared",
    "state_dict_of",
    "without_bars",
]

_T = TypeVar("_T")
_SHARED: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()


class Weighted:
    """Base of frozen dataclasses that keep what they loaded: it is left behind in a pickle."""

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def shared(key: tuple[Any, ...], build: Callable[[], _T]) -> _T:
    """What `build` gives, made once in this process for as long as somebody holds it.

    Args:
        key: all that decides it; hashable.
        build: makes it; what it gives must allow weak references.
    """
    value = _SHARED.get(key)
    if value is None:
        value = _SHARED.setdefault(key, build())
    return value


def contents(*sources: str | None, folders: bool = True) -> dict[str, str]:
    """What a metric's settings say of weights on this machine: a hash of every file.

    So other weights under an old path are other settings, and old numbers are not kept for them.
    Of a hub id or an address nothing is read: its revision or file name says which it is.

    Args:
        sources: files or folders, hub ids, addresses; None where there is none.
        folders: whether a folder is read at all.

    Returns:
        ``{"contents": hash}``, empty where nothing lies on this machine.
    """
    hashes = []
    for source in filter(None, sources):
        # What is no path, or cannot be read, is told of by whoever needs it.
        with suppress(OSError, ValueError, RuntimeError):
            place = Path(source).expanduser()
            files = sorted(place.rglob("*")) if folders and place.is_dir() else [place]
            for file in filter(Path.is_file, files):
                state = file.stat()
                hashes.append(file.relative_to(place).as_posix())
                hashes.append(_file_hash(file, state.st_size, state.st_mtime_ns, state.st_ino))
    return {"contents": hashlib.sha256(" ".join(hashes).encode()).hexdigest()} if hashes else {}


@lru_cache(maxsize=1024)
def _file_hash(file: Path, *state: int) -> str:
    """Of a file's bytes, read once for as long as `state` is the same: they may be gigabytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def pretrained(kind: str, source: str, revision: str | None) -> nn.Module:
    """A network of transformers, on the CPU, ready to be used.

    Safetensors are preferred where a checkpoint has both formats.

    Args:
        kind: name of its class in transformers.
        source: a hub id, or a folder.
        revision: branch, tag or commit on the hub.

    Raises:
        EvaluationError: it is not there, or lacks some of the weights of `kind`.
    """
    with quiet_logging(), without_bars(), _explained(source):
        import transformers

        # Else transformers would ask on the terminal whether code of the checkpoint may run.
        trust = {"trust_remote_code": False} if kind.startswith("Auto") else {}
        net, report = getattr(transformers, kind).from_pretrained(
            _located(source), output_loading_info=True, **_at(revision), **trust
        )
    # Else such weights would be random, and transformers would only log it.
    counters = ("num_batches_tracked", "position_ids")  # which decide nothing
    if missing := sorted(k for k in report["missing_keys"] if not k.endswith(counters)):
        raise EvaluationError(
            f"{source!r} is no complete {kind}: it lacks {len(missing)} weights, such as "
            f"{missing[0]!r}."
        )
    network: nn.Module = net.eval().requires_grad_(False)
    return network


def tokenizer_of(source: str, revision: str | None) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        EvaluationError: it is not there.
    """
    with quiet_logging(), _explained(source):
        import transformers

        # Else transformers would ask on the terminal whether code of the checkpoint may run.
        return transformers.AutoTokenizer.from_pretrained(
            _located(source), trust_remote_code=False, **_at(revision)
        )


def hub_json(source: str, name: str, revision: str | None) -> dict[str, Any] | None:
    """A JSON file of a checkpoint; None where the checkpoint has no such file.

    Raises:
        EvaluationError: whether it has one cannot be found out, or the file is damaged.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with _explained(source):
        folder = Path(_located(source))
        if folder.is_dir():
            path = folder / name
            return json.loads(path.read_text("utf-8")) if path.is_file() else None
        cached = try_to_load_from_cache(source, name, revision=revision)
        if cached is not None and not isinstance(cached, str):
            return None  # known not to be there
        try:
            file = cached or hf_hub_download(source, name, revision=revision)
        except LocalEntryNotFoundError:  # a kind of the other, but says nothing of the hub
            raise
        except EntryNotFoundError:
            return None
        return dict(json.loads(Path(file).read_text("utf-8")))


def state_dict_of(source: str, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """The tensors of one file, by name; nothing in the file is run.

    Args:
        source: a .safetensors or .pth file, or the https address of one, which is fetched once
            into PyTorch's hub folder.
        sha256: how the hash of a fetched file begins.

    Raises:
        EvaluationError: it is not there, cannot be fetched, or holds something else.
    """
    path = _fetched(source, sha256) if source.startswith("https://") else Path(source).expanduser()
    if not path.is_file():
        raise EvaluationError(f"There is no file of weights {source!r}: check the path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = _unpickled(path)
    except Exception as error:  # as varied as the formats
        raise EvaluationError(
            f"The weights {str(path)!r} cannot be read: the file is damaged or of another format; "
            f"copy or download it again. ({because(error)})"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = dict(content) if isinstance(content, Mapping) else {}
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise EvaluationError(f"{str(path)!r} holds no state dict: tensors by their names.")
    return tensors


def _fetched(address: str, sha256: str | None) -> Path:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    how = f"Download {address} to {path}, or name your copy of the file"
    if HF_HUB_OFFLINE:
        raise EvaluationError(f"{path.name!r} is not here, and HF_HUB_OFFLINE=1 is set. {how}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path), sha256)
    except Exception as error:  # of the network, the disk, or a wrong hash
        raise EvaluationError(
            f"{path.name!r} could not be fetched ({because(error)}). {how}."
        ) from error
    return path


def _unpickled(path: Path) -> Any:
    """What `torch.load` gives; of classes other than tensors and containers, empty stand-ins."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Checkpoints of trainings hold, beside the weights, objects of packages that are not here.
        return torch.load(
            path,
            map_location="cpu",
            weights_only=False,
            pickle_module=SimpleNamespace(
                Unpickler=_TensorUnpickler, load=_TensorUnpickler.read, __name__="tensors only"
            ),
        )


class _StandIn:
    """Takes whatever a pickle would do to an object, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take anything."""

    def __setstate__(self, _: Any) -> None:
        """Take anything."""

    def __setitem__(self, _: Any, __: Any) -> None:
        """Take anything."""

    def append(self, _: Any) -> None:
        """Take anything."""

    def extend(self, _: Any) -> None:
        """Take anything."""

    def __hash__(self) -> int:
        return id(self)


class _TensorUnpickler(pickle.Unpickler):
    """Makes tensors and plain containers, and imports nothing else."""

    @classmethod
    def read(cls, file: Any, **options: Any) -> Any:
        """As `pickle.load`, which files of the format before 2020 are read with."""
        return cls(file, **options).load()

    def find_class(self, module: str, name: str) -> Any:
        plain = (
            (module == "collections" and name == "OrderedDict")
            or (module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"))
            or (module == "torch" and re.fullmatch(r"[A-Za-z0-9]+Storage|Size", name))
            or (module == "builtins" and name in ("set", "frozenset", "list", "dict", "tuple"))
        )
        return super().find_class(module, name) if plain else _StandIn


def _located(source: str) -> str:
    """A folder's path, or a hub id."""
    path = Path(source).expanduser()
    if path.is_dir():
        return str(path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or source.startswith("."):
        raise EvaluationError(
            f"There is no folder {source!r}, and it is no hub id (owner/name): check the name."
        )
    return source


def _at(revision: str | None) -> dict[str, str]:
    return {} if revision is None else {"revision": revision}


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn whatever a loader raises into one `EvaluationError`."""
    try:
        yield
    except EvaluationError:
        raise
    except Exception as error:  # OSError, ValueError, SafetensorError, hub errors, ...
        first: BaseException = error
        while cause := first.__cause__ or first.__context__:
            first = cause
        what = (
            "the folder is incomplete, damaged or of another model; copy or download it again"
            if Path(source).expanduser().is_dir()
            else f"fetch it where there is a network by `hf download {source}`, or pass a folder"
        )
        raise EvaluationError(
            f"The checkpoint {source!r} cannot be loaded: {what}. ({because(first)})"
        ) from error


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of transformers, which has one for the shards of every checkpoint."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
