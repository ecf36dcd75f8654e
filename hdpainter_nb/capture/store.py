"""Arrays within a budget: in main memory up to it, in a temporary file beyond it.

What lies in the file is read through a memory map, so it is an array like any other; the system
loads the pages that are looked at and lets go of them again. The file has no name where the system
allows that, so nothing is left behind, whatever ends the process.
"""

from __future__ import annotations

import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.utils.nbytes import readable_bytes

__all__ = ["ArrayStore", "is_mapped", "write_all"]

_SEGMENTS = (2**24, 2**30)  # bytes: size of the first mapped piece of the file, and of the largest
_ALIGN = 64


class ArrayStore:
    """Takes arrays in; hands out the same, or their twins in the file once the budget is used up.

    Safe to use from several threads.

    Attributes:
        limit: bytes that may lie in main memory at once; None for no limit.
        folder: where the file goes; None for the system's temporary folder.
    """

    def __init__(self, limit: int | None = None, folder: str | Path | None = None) -> None:
        self.limit = limit
        self.folder = folder
        self._held = 0
        self._written = 0
        self._arrays: dict[int, weakref.ref[NDArray[Any]]] = {}
        self._lock = threading.RLock()
        self._file: Any = None
        self._segment: Any = None
        self._used = 0  # bytes of the segment

    @property
    def in_memory(self) -> int:
        """Bytes of the arrays that were taken in, are still alive and lie in main memory."""
        return self._held

    @property
    def on_disk(self) -> int:
        """Bytes written to the file."""
        return self._written

    def add(self, array: NDArray[Any], *, copy: bool = False) -> NDArray[Any]:
        """The array itself or, where it no longer fits the budget, its twin in the file.

        Args:
            array: C-contiguous, and nobody else's: it is not copied if it stays in memory.
            copy: do copy it.

        Raises:
            OSError: the file cannot be written, for the disk is full, say.
        """
        if is_mapped(array) or not array.nbytes:
            return array
        with self._lock:
            if self.limit is not None and self._held + array.nbytes > self.limit:
                return self._write(array)
            array = array.copy() if copy else array
            self._hold(array)
            return array

    def fits(self, count: int) -> bool:
        """Whether so many bytes more may lie in main memory."""
        return self.limit is None or self._held + count <= self.limit

    def _hold(self, array: NDArray[Any]) -> None:
        key, count = id(array), array.nbytes
        if key in self._arrays and self._arrays[key]() is array:
            return  # taken in before
        this = weakref.ref(self)

        def release(gone: weakref.ref[NDArray[Any]]) -> None:
            owner = this()
            if owner is not None:
                with owner._lock:
                    owner._held -= count
                    if owner._arrays.get(key) is gone:
                        del owner._arrays[key]

        self._arrays[key] = weakref.ref(array, release)
        self._held += count

    def _write(self, array: NDArray[Any]) -> NDArray[Any]:
        count = array.nbytes
        try:
            if self._segment is None or self._used + count > len(self._segment):
                self._extend(count)
            self._file.seek(self._start + self._used)
            write_all(self._file, array)  # not through the map: a full disk is an error that way
        except OSError as error:
            raise OSError(
                error.errno,
                f"{readable_bytes(count)} of what was captured cannot be written under "
                f"{self.folder or tempfile.gettempdir()} ({error.strerror}). Choose another place "
                "with Capture(folder=...), or keep less.",
            ) from error
        flat = self._segment[self._used : self._used + count]
        self._used += -(-count // _ALIGN) * _ALIGN
        self._written += count
        twin: NDArray[Any] = flat.view(array.dtype).reshape(array.shape)
        return twin

    def _extend(self, count: int) -> None:
        """Map a further piece of the file: pieces double, so that few are needed."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115
                buffering=0, dir=self.folder, prefix="hdpainter-"
            )
            weakref.finalize(self, self._file.close)
            self._start = 0
            size = _SEGMENTS[0]
        else:
            self._start += len(self._segment)
            size = min(2 * len(self._segment), _SEGMENTS[1])
        size = max(size, -(-count // 2**16) * 2**16)
        self._file.truncate(self._start + size)  # takes no room before it is written to
        self._segment = np.memmap(
            self._file, np.uint8, mode="r+", offset=self._start, shape=(size,)
        )
        self._used = 0

    def __repr__(self) -> str:
        limit = "no limit" if self.limit is None else f"limit {readable_bytes(self.limit)}"
        return (
            f"ArrayStore({readable_bytes(self.in_memory)} in memory, {limit}, "
            f"{readable_bytes(self.on_disk)} on disk)"
        )


def is_mapped(array: Any) -> bool:
    """Whether an array lies in a file, not in memory of its own."""
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def write_all(file: Any, array: NDArray[Any]) -> None:
    """An array's bytes to a file, from where they lie."""
    plain = np.ascontiguousarray(array)
    left = plain.reshape(-1).view(np.uint8).data if plain.size else memoryview(b"")
    while left:
        left = left[file.write(left[: 2**28]) :]
