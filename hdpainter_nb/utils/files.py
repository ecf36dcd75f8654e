"""Files: where the bundled ones lie, how a new one is written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from hdpainter_nb.utils.checked import checked

__all__ = ["data_path", "replacing"]

_HERE = Path(__file__).resolve().parents[1]
_WHEEL = _HERE / "_data"  # where the wheel keeps the folders of data/
_CHECKOUT = _HERE.parent / "data"  # the same folders in a checkout or an editable install


@checked
def data_path(*parts: str) -> Path:
    """Return the path of something bundled, such as ``data_path("samples", "coffee.jpg")``.

    Args:
        parts: the names on the way down from the data folder; none gives that folder itself.

    Returns:
        An existing file or folder on disk. It belongs to the library: read it, do not write there.

    Raises:
        FileNotFoundError: nothing of that name is bundled, or this installation lacks its data.
    """
    root = _root()
    path = root.joinpath(*parts)
    if path.exists():
        return path
    nearest = next(folder for folder in path.parents if folder.is_dir())
    entries = ", ".join(sorted(entry.name for entry in nearest.iterdir())) or "nothing"
    raise FileNotFoundError(
        f"{'/'.join(parts)!r} is not bundled with hdpainter-nb. {nearest} holds: {entries}."
    )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Inside, write to the temporary file given; `path` becomes it once that has gone well.

    >>> with replacing("run.hdp") as part:
    ...     part.write_bytes(content)

    Nobody ever reads half a file, and whatever is raised inside, an interrupt too, leaves what was
    there and nothing beside it; what a killed process leaves, the next one removes. Two that write
    the same file at once do not meet: the last one to finish counts. A symbolic link stays one: the
    file that it leads to is replaced. A file keeps its permissions, a new one gets the usual ones,
    whatever the writer did to the temporary file.

    Args:
        path: a regular file, or none yet, in a folder that exists.

    Raises:
        FileNotFoundError, NotADirectoryError: its folder is missing, or is none.
        IsADirectoryError: a folder is there.
        OSError: it is no regular file, or cannot be written.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))  # as links say, also where they lead to no file yet
    before = _mode(path, target)
    _sweep(target.parent)
    # A name that nobody can guess, and short however long the target's is. It says who writes, so
    # that what a killed process leaves can be told from what another one is writing.
    who = f"{_machine()}-{os.getpid()}"
    part = target.with_name(f".{target.name[:40]}.{who}.{secrets.token_hex(8)}.part")
    try:
        mode = _create(path, part, before)
        yield part
        _to_disk(part)
        part.chmod(mode)  # after the writer, who may have made the file anew with modes of its own
        part.replace(target)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what counts
            part.unlink(missing_ok=True)
        raise


_LEFT = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)\.[0-9a-f]{16}\.part")
_SWEEP_EVERY = 60.0  # seconds; looking through a folder of many results costs
_swept: dict[Path, float] = {}


def _sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine have left in a folder."""
    now = time.monotonic()
    if now - _swept.get(folder, -_SWEEP_EVERY) < _SWEEP_EVERY:
        return
    _swept[folder] = now
    with suppress(OSError):
        for entry in os.scandir(folder):
            match = _LEFT.fullmatch(entry.name)
            if match and match[1] == _machine() and not _lives(int(match[2])):
                with suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108  # a link is removed, not followed


def _lives(pid: int) -> bool:
    """Whether a process of this machine is there; in doubt it is."""
    if os.name != "posix":
        return True  # on Windows the question would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@cache
def _machine() -> str:
    """Which numbering of processes this one is in: the machine, since its start, its container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  # no path of files
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _root() -> Path:
    if _WHEEL.is_dir():
        return _WHEEL
    if (_CHECKOUT / "mini").is_dir() or (_CHECKOUT / "samples").is_dir():
        return _CHECKOUT
    raise FileNotFoundError(
        f"The data of hdpainter-nb (the bundled model and the samples) is neither in {_WHEEL} nor "
        f"in {_CHECKOUT}. Install the wheel again with `pip install --force-reinstall --no-deps "
        "hdpainter_nb-*.whl`, or work in a complete checkout with `pip install -e .`."
    )


def _mode(path: Path, target: Path) -> int | None:
    """The permissions of what is there, or None.

    Raises:
        OSError: it cannot be replaced, or there is no folder for it.
    """
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if target.parent.is_dir():
            return None
        code = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
        raise OSError(
            code, f"cannot be written: there is no folder {target.parent}", str(path)
        ) from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "cannot be written: it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "cannot be replaced: it is no regular file", str(path))
    return stat.S_IMODE(mode)


def _create(path: Path, part: Path, before: int | None) -> int:
    """Make an empty file, which must be new; gives the permissions that it is to end with."""
    # The umask cannot be asked for without changing it for all threads; the system applies it.
    # What replaces a file that others may not read is not to be read by them meanwhile either.
    asked = 0o666 if before is None else 0o600
    try:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, asked)
    except OSError as error:
        why = f"cannot be written in {part.parent}: {error.strerror}"
        raise OSError(error.errno, why, str(path)) from error
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode) if before is None else before
    finally:
        os.close(handle)


def _to_disk(part: Path) -> None:
    """Wait until it is on disk: renamed sooner, it could be empty after a loss of power."""
    handle = os.open(part, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
