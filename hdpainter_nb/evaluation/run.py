"""A run: a folder of files that any process may add to, and that outlives all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from hdpainter_nb._version import __version__
from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.system import Painting, System
from hdpainter_nb.evaluation.triplet import TripletSet
from hdpainter_nb.evaluation.triplets.folder import check_id
from hdpainter_nb.settings import Settings
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import replacing

__all__ = ["Run", "changed_settings", "read_painting"]

_FORMAT = 1
_NOTE = "hdpainter-nb"  # the PNG's text that holds what was measured while painting


@checked
@dataclass(frozen=True)
class Run:
    """The files of a run.

    - ``run.json``: protocol, triplets, systems with their settings and fingerprints, versions
    - ``pictures/<system>/seed-<seed>/<id>.png``: one file for each result, written by rename
    - ``scores/<metric>/<system>-seed-<seed>.jsonl``: the numbers of each
    - ``traces/<system>/seed-<seed>/<id>.hdp``, ``.html``: runs that were kept to be looked at

    Whether a result is there is whether its file is; nothing else is remembered, so a run goes on
    after any end, and several machines may share a folder.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    # --- begin and go on ----------------------------------------------------------------------

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A run that exists.

        Raises:
            EvaluationError: there is none, or its ``run.json`` is damaged.
        """
        run = cls(Path(folder).expanduser())
        run.facts  # noqa: B018  # reads it
        return run

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        protocol: EvaluationProtocol,
        triplets: TripletSet,
        systems: Sequence[System],
        *,
        source: Mapping[str, Any] | None = None,
    ) -> Run:
        """Begin a run, or go on with one: further systems and triplets are added to it.

        Args:
            folder: made where it is missing.
            protocol, triplets, systems: of the run.
            source: how the triplets can be found again, for `score` and `report` later on.

        Raises:
            EvaluationError: what is there was made with another protocol, with other triplets, or
                with a system of the same name but other weights or settings. Nothing is changed.
        """
        run = cls(Path(folder).expanduser())
        names = [system.name for system in systems]
        if len(set(names)) < len(names):
            raise EvaluationError(f"Two systems have one name: {', '.join(sorted(names))}.")
        for name in names:
            check_id(name)
        for id in triplets.ids:
            check_id(id)
        wanted = _facts(protocol, triplets, systems, source)
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.locked("run.json"):
            if run._file.is_file():
                wanted = _joined(run.facts, wanted, run.folder)
            with replacing(run._file) as part:
                part.write_text(json.dumps(wanted, indent=2, ensure_ascii=False) + "\n", "utf-8")
        return run

    @property
    def _file(self) -> Path:
        return self.folder / "run.json"

    @property
    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            EvaluationError: it is missing, damaged, or of a later version.
        """
        try:
            facts = json.loads(self._file.read_text("utf-8"))
            version = facts["format"]
            names = {"protocol": dict, "triplets": dict, "systems": dict}
            if not all(isinstance(facts[name], kind) for name, kind in names.items()):
                raise ValueError("its entries are not what they should be")
        except FileNotFoundError:
            raise EvaluationError(
                f"{str(self.folder)!r} holds no run.json, so it is no run: begin one with "
                "`hdpainter-nb evaluate`."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise EvaluationError(
                f"{str(self._file)!r} is damaged: {type(error).__name__} {error}."
            ) from error
        if version != _FORMAT:
            raise EvaluationError(
                f"{str(self._file)!r} has format {version!r}; this version reads {_FORMAT}."
            )
        return dict(facts)

    @property
    def protocol(self) -> EvaluationProtocol:
        """Of the run."""
        values = self.facts["protocol"]
        known = {f.name for f in dataclasses.fields(EvaluationProtocol)}
        return EvaluationProtocol(**{k: v for k, v in values.items() if k in known})

    @property
    def ids(self) -> list[str]:
        """Of its triplets."""
        return [check_id(id) for id in self.facts["triplets"]["ids"]]

    @property
    def systems(self) -> list[str]:
        """Their names."""
        return [check_id(name) for name in self.facts["systems"]]

    @contextlib.contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """One process at a time does `what` in this folder; the system frees it if that dies.

        Raises:
            EvaluationError: another process is at it.
        """
        folder = self.folder / "locks"
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / f"{what}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                _lock(handle)
            except OSError:
                raise EvaluationError(
                    f"Another process is working on {what!r} of {str(self.folder)!r}: wait for it, "
                    "or give each its share with --shard 1/2 and --shard 2/2."
                ) from None
            yield
        finally:
            os.close(handle)

    # --- pictures -------------------------------------------------------------------------------

    def picture_path(self, system: str, seed: int, id: str) -> Path:
        """Where a result lies, or will."""
        return self.folder / "pictures" / system / f"seed-{seed}" / f"{id}.png"

    def trace_path(self, system: str, seed: int, id: str) -> Path:
        """Where the page of a kept trace lies, or will."""
        return self.folder / "traces" / system / f"seed-{seed}" / f"{id}.html"

    def traces(self) -> dict[tuple[str, int, str], str]:
        """The pages of kept traces: (system, seed, id) -> path in the run's folder."""
        pages = {}
        for path in sorted((self.folder / "traces").glob("*/seed-*/*.html")):
            system, seed = path.parts[-3], path.parts[-2].removeprefix("seed-")
            if seed.isdecimal():
                name = path.relative_to(self.folder).as_posix()
                pages[system, int(seed), path.stem] = name
        return pages

    def has(self, system: str, seed: int, id: str) -> bool:
        """Whether a result is there."""
        return self.picture_path(system, seed, id).is_file()

    def painted(self, system: str, seed: int, ids: Sequence[str]) -> list[str]:
        """The triplets with a result; for many of them, as the folder is listed once."""
        there = self._listed(system, seed)
        return [id for id in ids if f"{id}.png" in there]

    def due(self, system: str, seed: int, ids: Sequence[str]) -> list[str]:
        """The triplets without a result; for many of them, as the folder is listed once."""
        there = self._listed(system, seed)
        return [id for id in ids if f"{id}.png" not in there]

    def _listed(self, system: str, seed: int) -> set[str]:
        try:
            return {entry.name for entry in os.scandir(self.picture_path(system, seed, "x").parent)}
        except FileNotFoundError:
            return set()

    def write(self, system: str, seed: int, id: str, painting: Painting) -> None:
        """Keep a result: the whole file or none.

        Raises:
            EvaluationError: it cannot be written, because the disk is full, for instance.
        """
        path = self.picture_path(system, seed, id)
        note = PngImagePlugin.PngInfo()
        note.add_text(_NOTE, json.dumps(painting.numbers))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                Image.fromarray(painting.picture).save(part, format="PNG", pnginfo=note)
        except OSError as error:
            raise EvaluationError(
                f"The result {str(path)!r} cannot be written ({error.strerror or error}): make "
                "room and start the same command again; what is there stays."
            ) from error

    def read(self, system: str, seed: int, id: str) -> Painting:
        """A result that is there.

        Raises:
            EvaluationError: it is not, or it is damaged.
        """
        return read_painting(self.picture_path(system, seed, id))

    def numbers(self, system: str, seed: int, id: str) -> dict[str, float]:
        """What was measured while a result was painted; its picture is not decoded.

        Raises:
            EvaluationError: it is missing or damaged.
        """
        return _opened(self.picture_path(system, seed, id), decode=False).numbers

    def picture(self, system: str, seed: int, id: str) -> NDArray[np.uint8] | None:
        """(h, w, 3) of a result; None where there is none."""
        return self.read(system, seed, id).picture if self.has(system, seed, id) else None


def read_painting(path: Path) -> Painting:
    """A result's file.

    Raises:
        EvaluationError: it is missing or damaged.
    """
    return _opened(path, decode=True)


def _opened(path: Path, *, decode: bool) -> Painting:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            numbers = json.loads(image.info.get(_NOTE, "{}"))
            picture = np.asarray(image.convert("RGB")) if decode else np.empty((0, 0, 3), np.uint8)
        if not isinstance(numbers, dict):
            raise ValueError("its note is no table of numbers")
        kept = {str(k): float(v) for k, v in numbers.items()}
    except (OSError, ValueError, TypeError, SyntaxError, RecursionError) as error:
        raise EvaluationError(
            f"The result {str(path)!r} cannot be read: delete it, and the next run makes it anew "
            f"({error})."
        ) from error
    return Painting(picture, kept)


def _facts(
    protocol: EvaluationProtocol,
    triplets: TripletSet,
    systems: Sequence[System],
    source: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": _plain(dataclasses.asdict(protocol)),
        "triplets": {
            "name": triplets.name,
            "fingerprint": triplets.fingerprint(),
            "source": _plain(dict(source or {})),
            "ids": list(triplets.ids),
            "groups": dict(zip(triplets.ids, triplets.groups, strict=True)),
        },
        "systems": {
            system.name: {
                "settings": _plain(dict(system.settings)),
                "fingerprint": system.fingerprint(),
                "columns": {n: dataclasses.asdict(c) for n, c in system.columns.items()},
            }
            for system in systems
        },
        "versions": _versions(),
    }


def _plain(values: Any) -> Any:
    """As it comes back from JSON, so that what was written and what is asked for compare."""
    return json.loads(json.dumps(values))


def _versions() -> dict[str, str]:
    names = ("torch", "diffusers", "transformers", "numpy", "opencv-python-headless", "pillow")
    versions = {"hdpainter-nb": __version__, "python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _joined(there: dict[str, Any], wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a run becomes by going on with it."""
    where = f"{str(folder)!r} was begun"
    differing = [k for k, v in wanted["protocol"].items() if there["protocol"].get(k) != v]
    if differing:
        told = ", ".join(
            f"{k}={there['protocol'].get(k)!r} (now {wanted['protocol'][k]!r})" for k in differing
        )
        raise EvaluationError(f"{where} with another protocol: {told}. Choose another folder.")
    if there["triplets"].get("fingerprint") != wanted["triplets"]["fingerprint"]:
        raise EvaluationError(f"{where} with other triplets. Choose another folder.")
    systems = dict(there["systems"])
    for name, system in wanted["systems"].items():
        before = systems.get(name, system)
        if before["fingerprint"] != system["fingerprint"]:
            raise EvaluationError(
                f"{where} with other weights of {name!r}: choose another folder, or give the "
                "changed system another name."
            )
        other = changed_settings(before["settings"], system["settings"])
        if other:
            raise EvaluationError(
                f"{where} with other settings of {name!r} ({', '.join(other)}): choose "
                "another folder, or give the changed system another name."
            )
        systems[name] = system
    ids = [*dict.fromkeys([*there["triplets"]["ids"], *wanted["triplets"]["ids"]])]
    groups = {**there["triplets"].get("groups", {}), **wanted["triplets"]["groups"]}
    source = wanted["triplets"]["source"] or there["triplets"].get("source", {})
    return {
        **there,
        "triplets": {**there["triplets"], "ids": ids, "groups": groups, "source": source},
        "systems": systems,
        "versions": wanted["versions"],
    }


def changed_settings(written: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """On what a system's settings in a run's file differ from those that it has now.

    A setting of the sampler that the file does not name was no choice yet when it was written: the
    pictures were painted by what is its default.

    Args:
        written: in the file.
        now: as JSON would give them back.
    """
    defaults = Settings.of_earlier_run({}).to_dict()
    then = {**{key: defaults[key] for key in now if key in defaults}, **written}
    return sorted(key for key in {*then, *now} if then.get(key) != now.get(key))


def _lock(handle: int) -> None:
    """Take a file for this process alone, at once or not at all."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
