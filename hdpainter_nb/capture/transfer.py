"""Copies of tensors to main memory that do not stop the model's device.

On CUDA a copy goes into pinned memory on a stream of its own while the UNet goes on; it is waited
for only when somebody reads the array. Elsewhere a copy is just a copy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.capture.store import ArrayStore

__all__ = ["HostTransfer", "PendingArray", "Place", "to_array"]

Place = Literal["cpu", "model"]
_STAGED = 2**26  # bytes that may wait in pinned memory: 64 MiB
_streams: dict[torch.device, Any] = {}


class HostTransfer:
    """Takes tensors of a step into main memory, within the budget of an `ArrayStore`.

    Args:
        store: what counts the bytes; one without a limit by default.
        place: ``cpu`` moves tensors at once, ``model`` leaves them where they are until read.
    """

    def __init__(self, store: ArrayStore | None = None, place: Place = "cpu") -> None:
        self.store = ArrayStore() if store is None else store
        self.place = place
        self._pending: deque[PendingArray] = deque()
        self._staged = 0  # bytes in pinned memory
        self._lock = threading.Lock()

    def put(self, x: Any, dtype: torch.dtype = torch.float32) -> Any:
        """An array of the tensor's values, or a `PendingArray` that becomes one when it is read.

        What is no tensor is given back as it is. On the meta device nothing is left of a tensor.
        """
        if not isinstance(x, Tensor):
            return x
        x = x.detach()
        if x.is_meta:
            return x.new_empty(0) if self.place == "cpu" else x
        if self.place == "model" and _elsewhere(x):
            return PendingArray(self.store, x.to(dtype, copy=True))
        if not _beside(x):
            return self.store.add(_copy(x, dtype))
        (array,) = self._begin(*_copy_aside(x[None], dtype))
        return array

    def put_rows(self, x: Tensor, dtype: torch.dtype = torch.float32) -> list[Any]:
        """As `put` of every row, each for itself; they leave CUDA in one copy."""
        if not _beside(x) or self.place == "model":
            return [self.put(row, dtype) for row in x]
        return self._begin(*_copy_aside(x.detach(), dtype))

    def _begin(self, host: Tensor, event: Any) -> list[PendingArray]:
        """A `PendingArray` for each row of a pinned tensor."""
        arrays = [PendingArray(self.store, row, event=event, arrived=self._arrived) for row in host]
        self._pending += arrays
        self._arrived(-host.nbytes)
        while self._pending and (self._staged > _STAGED or self._pending[0].ready):
            self._pending.popleft().wait()  # the oldest: its copy has long arrived
        return arrays

    def _arrived(self, count: int) -> None:
        with self._lock:
            self._staged -= count


class PendingArray:
    """A tensor on its way to main memory.

    Args:
        store: where the array goes.
        tensor: pinned and being written to, or on the model's device.
        event: after which it is complete; None where there is nothing to wait for.
        arrived: is told its bytes once it is there.
    """

    def __init__(
        self,
        store: ArrayStore,
        tensor: Tensor,
        event: Any = None,
        arrived: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.nbytes = tensor.nbytes
        """Of the array, known before it is there."""
        self.ndim = tensor.ndim
        self._store = store
        self._tensor: Tensor | None = tensor
        self._event = event
        self._arrived = arrived
        self._array: NDArray[Any] | None = None
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether the array is there."""
        return self._array is not None

    def wait(self) -> NDArray[Any]:
        """The array; waits for the copy the first time."""
        with self._lock:
            if self._array is None:
                assert self._tensor is not None
                if self._event is None:
                    self._array = self._store.add(_copy(self._tensor, self._tensor.dtype))
                else:
                    self._event.synchronize()
                    # The pinned block goes back to torch, which hands it to the next copy.
                    self._array = self._store.add(self._tensor.numpy(), copy=True)
                self._arrived(self._tensor.nbytes)
                self._tensor = self._event = None
            return self._array


def to_array(x: Tensor) -> NDArray[Any]:
    """To main memory, as float32. A copy, so that later in-place work cannot reach it."""
    return x.detach().to("cpu", torch.float32, copy=True).numpy()


def _elsewhere(x: Tensor) -> bool:
    return x.device.type != "cpu"


def _beside(x: Tensor) -> bool:
    """Whether it can be copied beside the work that goes on."""
    return x.device.type == "cuda"


def _copy(x: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """A contiguous copy of its own, so that no larger tensor stays alive behind it."""
    array: NDArray[Any] = x.to(
        "cpu", dtype, copy=True, memory_format=torch.contiguous_format
    ).numpy()
    return array


def _copy_aside(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Any]:
    """Start copying a CUDA tensor into pinned memory, beside the work that goes on."""
    x = x.to(dtype).contiguous()
    host = torch.empty(x.shape, dtype=dtype, pin_memory=True)
    side = _streams.get(x.device)
    if side is None:
        side = _streams[x.device] = torch.cuda.Stream(x.device)
    side.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(side):
        host.copy_(x, non_blocking=True)
        event = side.record_event()
    x.record_stream(side)  # its memory is not handed out again before the copy is done
    return host, event
