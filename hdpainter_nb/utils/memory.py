"""Memory in bytes: what a computation takes of it, what a device has left.

Nothing here knows of diffusion. On the meta device the count needs neither weights nor arithmetic,
and it is that of the real run, because the same operations make and drop the same tensors.
"""

from __future__ import annotations

import functools
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from hdpainter_nb.errors import OutOfMemoryError

__all__ = [
    "Fused",
    "LiveBytes",
    "SavedBytes",
    "explain_out_of_memory",
    "free_bytes",
    "is_shortage",
    "meta_twin",
    "weight_bytes",
]

_WIDE_HEAD = 128  # above, CUDA's memory-efficient kernel sums up in a float32 buffer of its own


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside and not yet dropped, and their peak.

    A storage is born with the first tensor that an operation returns on it and dies with the last
    that holds it, the gradient graph included. What kernels use and free inside an operation is
    not seen, nor what an allocator wastes. `flops` are those of matrix products and convolutions;
    `kernels` are the operations that compute something, which a GPU is given one by one.

    >>> with LiveBytes() as live:
    ...     unet(x, t, context)
    >>> live.peak
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self.flops = 0
        self.kernels = 0
        self._outputs: dict[Any, Any] = {}  # on the meta device: call -> layout of what it returns

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        alive = {_key(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        out = self._result(func, args, kwargs, alive)
        self.kernels += _computes(func)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and _key(x) not in alive:  # else it is a view or in place
                alive.add(_key(x))
                self._born(x.untyped_storage())
        return out

    def _result(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], alive: set[int]
    ) -> Any:
        """What an operation returns; without asking torch again for what it has said before.

        Without data the result depends on the layouts of what goes in alone. Torch works it out in
        Python for most operations, and a network asks the same in each of its blocks.
        """
        if not _makes_new_tensors(func):
            return func(*args, **kwargs)
        try:
            call = func, _layouts(args), _layouts(tuple(kwargs.items()))
            known = self._outputs.get(call)
        except (_HasDataError, TypeError):
            return func(*args, **kwargs)
        if known is not None:
            return tree_map_only(_Layout, _Layout.empty, known)
        out = func(*args, **kwargs)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if made and not any(_key(x) in alive or x.device.type != "meta" for x in made):
            self._outputs[call] = tree_map_only(Tensor, _Layout.of, out)
        return out

    def _born(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._died, size).atexit = False

    def _died(self, size: int) -> None:
        self.now -= size


@dataclass(frozen=True, slots=True)
class _Layout:
    """A tensor of the meta device: all that there is to know of it."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor) -> Self:
        if x.device.type != "meta":
            raise _HasDataError
        return cls(tuple(x.shape), x.stride(), x.dtype)

    def empty(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


class _HasDataError(Exception):
    """A tensor is not on the meta device."""


def _layouts(values: Any) -> Any:
    """Arguments with layouts for tensors, as a key."""
    if isinstance(values, Tensor):
        return _Layout.of(values)
    if isinstance(values, list | tuple):
        return tuple(map(_layouts, values))
    return type(values), values  # 1 and 1.0 are equal, and give other dtypes


@functools.cache
def _computes(func: Any) -> bool:
    """Whether an operation is more than a view or room for a tensor."""
    aliases = [returned.alias_info for returned in func._schema.returns]
    view = any(alias is not None and not alias.is_write for alias in aliases)
    return not view and "empty" not in str(func)


@functools.cache
def _makes_new_tensors(func: Any) -> bool:
    """Whether an operation writes into nothing and returns no view."""
    schema = func._schema
    return not schema.is_mutable and all(r.alias_info is None for r in schema.returns)


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes of the distinct tensors that the gradient graph saves inside.

    Args:
        weights: counted apart.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__(self._pack, lambda tensor: tensor)
        self.total = 0
        self.weights = 0
        self._weights = {_key(p) for p in weights}
        self._saved: set[int] = set()  # alive; a key may come back after its storage's death

    def __enter__(self) -> Self:  # type: ignore[override]  # torch's gives nothing
        super().__enter__()
        return self

    def _pack(self, tensor: Tensor) -> Tensor:
        key, storage = _key(tensor), tensor.untyped_storage()
        if key in self._saved:
            return tensor
        self._saved.add(key)
        if key in self._weights:
            self.weights += storage.nbytes()
        else:
            weakref.finalize(storage, self._saved.discard, key).atexit = False
            self.total += storage.nbytes()
        return tensor


class Fused(TorchFunctionMode):
    """On the meta device: attention that keeps what a fused kernel keeps.

    Without it torch would make the matrix of all pairs there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            q, k, v = (*args, *(kwargs or {}).values())[:3]
            return _FusedAttention.apply(q, k, v, self)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def meta_twin(network: Any, dtype: torch.dtype) -> Any:
    """A network of the same configuration without weights, on the meta device."""
    with torch.device("meta"):
        twin = type(network).from_config(network.config)
    return nn.Module.to(twin, dtype)  # diffusers' own `to` would warn about precision


def weight_bytes(networks: Iterable[nn.Module], dtype: torch.dtype | None = None) -> int:
    """Of all parameters and buffers, offloaded ones too; as if cast to `dtype` where given."""
    return sum(
        x.numel() * (dtype if dtype is not None and x.is_floating_point() else x.dtype).itemsize
        for network in networks
        for x in (*network.parameters(), *network.buffers())
    )


def free_bytes(device: torch.device) -> int | None:
    """What can still be had on a device, torch's own reserve included; None where nobody knows."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + idle)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return None


def is_shortage(error: BaseException) -> bool:
    """Whether an exception says that the memory of a device or the main memory does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "DefaultCPUAllocator" in text
    )


@contextmanager
def explain_out_of_memory(advice: Callable[[], str]) -> Iterator[None]:
    """Turn a shortage of memory into one sentence, and let go of what the failed call holds.

    Its traceback, which notebooks keep, would hold every tensor of the failed call; so its frames
    are emptied, and the next attempt has the memory.

    Raises:
        OutOfMemoryError: with the sentence that `advice` makes.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not is_shortage(error):
            raise
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        shortage = OutOfMemoryError(advice())
        shortage.add_note((str(error).splitlines() or [type(error).__name__])[0])
        raise shortage from None


def _key(x: Tensor) -> int:
    return x.untyped_storage()._cdata


class _FusedAttention(torch.autograd.Function):
    """Saves q, k, v, the output and one number per row; the backward pass makes the rest anew."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mode: Fused) -> Tensor:
        batch, heads, n, d = q.shape
        ctx.product = 2 * batch * heads * n * k.shape[2] * d  # FLOPs of a product of all pairs
        ctx.mode = mode
        mode.flops += 2 * ctx.product
        out = q.new_empty(batch, n, heads, v.shape[-1]).transpose(1, 2)  # as the kernels lay it out
        if d > _WIDE_HEAD and q.itemsize < 4:
            q.new_empty(out.shape, dtype=torch.float32)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        ctx.mode.flops += 4 * ctx.product
        q, k, v, *_ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None
