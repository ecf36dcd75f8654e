"""Weights that are in place only while their module runs: cast for storage, or moved elsewhere.

diffusers' layerwise casting and group offloading, accelerate's offloading and hooks of a user's own
give a module its weights before it runs and take them away again after it. Who takes a gradient
later needs them as they were then; who reads one without running the module finds another dtype,
another device or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hdpainter_nb.errors import ModelError

__all__ = ["UsedWeights", "affine_of", "cast_unseen", "is_patched", "may_swap"]

_STEADY = {"accelerate", "diffusers", "peft", "torch", "transformers"}
"""Packages whose modules leave their weights alone, unless something is hooked into them."""


def is_patched(module: nn.Module) -> bool:
    """Whether a module runs something other than its class does, as offloading makes it do.

    Its own method in its place is none: older versions of accelerate leave that behind.
    """
    forward = vars(module).get("forward")
    return forward is not None and getattr(forward, "__func__", None) is not type(module).forward


def may_swap(module: nn.Module) -> bool:
    """Whether a module, without its children, may have other weights after it runs than while."""
    if is_patched(module) or module._forward_pre_hooks or module._forward_hooks:
        return True
    return type(module).forward.__module__.partition(".")[0] not in _STEADY


def cast_unseen(network: nn.Module, dtype: torch.dtype) -> bool:
    """Whether hooks may cast a network's weights that it says nothing of.

    Args:
        dtype: what it says of itself; layerwise casting of diffusers makes it say what it casts to.
    """
    for module in network.modules():
        for weight in module._parameters.values():
            if weight is not None and weight.is_floating_point():
                unseen = not is_patched(module) and may_swap(module)
                return weight.dtype == dtype and (unseen or dtype.itemsize == 1)
    return False


class UsedWeights(torch.autograd.graph.saved_tensors_hooks):
    """Inside, the graph keeps the tensors that modules ran with, whatever they hold afterwards.

    >>> with UsedWeights() as used:
    ...     loss = network(x).sum()
    >>> (grad,) = torch.autograd.grad(loss, x)
    >>> used.check()

    A tensor that takes the place of a weight changes nothing here: the graph holds the one before.
    Where values are written into the same memory, the sum over it is another one: `check` finds it.
    """

    def __init__(self) -> None:
        super().__init__(self._keep, self._give)
        self._changed: list[Tensor] = []  # () each, on the device

    def _keep(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        plain = type(x) in (Tensor, nn.Parameter) and not x.is_meta
        return x.detach(), _sum(x) if plain else None  # what it holds now: x may be a weight itself

    def _give(self, kept: tuple[Tensor, Tensor | None]) -> Tensor:
        x, total = kept
        if total is not None:
            if x.untyped_storage().nbytes() == 0 and x.numel():
                raise ModelError(_SAID)
            now = _sum(x)
            self._changed.append((now != total) & ~(now.isnan() & total.isnan()))
        return x

    def check(self) -> None:
        """See that what was kept is what was used; the device is waited for once.

        Raises:
            ModelError: it was written over.
        """
        if self._changed and bool(torch.stack(self._changed).any()):
            raise ModelError(_SAID)


_SAID = (
    "Weights of the UNet were written over between its run and the gradient of S, so there is no "
    "gradient: take the hooks out that offload or swap them, or use rasg=False."
)


def _sum(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.detach().float().sum()


class _Given(TorchFunctionMode):
    """Notes the weight and the bias that `layer_norm` is called with inside."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Iterable[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.nn.functional.layer_norm:
            taken = {**dict(zip(("x", "shape", "weight", "bias"), args, strict=False))}
            taken |= kwargs or {}
            self.given.append((taken["weight"].detach(), taken["bias"].detach()))
        return func(*args, **(kwargs or {}))


def affine_of(norm: nn.Module, x: Tensor) -> tuple[Any, Any]:
    """The weight and the bias (C,) of a layer norm, as it runs with them.

    Args:
        norm: an `nn.LayerNorm`.
        x: (B, n, C), of those that it is given.
    """
    if not may_swap(norm):
        return norm.weight, norm.bias
    with _Given() as mode, torch.no_grad():
        norm(x[:1, :1])
    return mode.given[-1]
