"""The check that a step's numbers are finite, and the error that says where they stop being so.

One sum tells it for a whole step. Only where that is not finite is it looked for: in the order in
which a step goes, from the latents over what the UNet is told, its weights and its prediction to
what comes of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdpainter_nb.errors import ModelError
from hdpainter_nb.utils.swapped_weights import is_patched

__all__ = ["StepNumbers", "are_finite"]


@dataclass(frozen=True, eq=False, kw_only=True)
class StepNumbers:
    """The numbers of a step, of one sample, in the order in which they arise."""

    latents: Tensor  # what the UNet is given
    conditioning: Any  # a dataclass: what else it is told
    networks: Sequence[nn.Module]
    predictions: Mapping[str, Tensor | None]  # by what they are called
    gradient: Tensor | None = None  # of S
    x0: Tensor
    after: Tensor  # what the scheduler made of it

    def check(self, place: str) -> None:
        """See that all is finite; the device is waited for once.

        Args:
            place: ``step 3 of 50, timestep 941``; steps are counted from 1.

        Raises:
            ModelError: it is not. The message names the first that is not, and what to do.
        """
        if are_finite((self.x0, self.after, self.gradient)):
            return
        for name, values, advice in self._quantities():
            if values is not None and not _is_finite(values):
                raise ModelError(
                    f"{name} not finite at {place}: {advice()}. The steps before are kept."
                )

    def _quantities(self) -> Iterator[_Quantity]:
        yield "The latents are", self.latents, lambda: "go back to a step before, or begin anew"
        yield from _conditions(self.conditioning)
        for name, output in self.predictions.items():
            yield f"The UNet's {name} is", output, self._prediction_advice
        precision = _name(self.latents.dtype)
        yield (
            f"The gradient of S, taken in {precision}, is",
            self.gradient,
            lambda: "load the model with dtype='bfloat16' or 'float32', or use rasg=False",
        )
        yield "The x0 prediction is", self.x0, lambda: "use a smaller guidance_scale"
        yield "What the scheduler made of it is", self.after, lambda: "use another scheduler"

    def _prediction_advice(self) -> str:
        """What to do where a prediction is not finite although all that it is made from is."""
        damaged, away = _bad_weight(self.networks), _away(self.networks)
        if damaged is not None and not away:
            return (
                f"a weight of it is not either ({damaged}), so load the model again, without the "
                "LoRA or the change that made it so"
            )
        if self.latents.dtype == torch.float16:
            return "it overflows in float16, so load the model with dtype='bfloat16' or 'float32'"
        if away:
            return "its weights overflow, or are damaged where they are kept; load the model again"
        return (
            "its weights and all that it is given are, so an attention processor, an adapter, a "
            "hook or an edit makes it so"
        )


_Quantity = tuple[str, Tensor | None, Callable[[], str]]
"""Its name with the verb, its values, and what to do where they are not finite."""


def are_finite(values: Iterable[Tensor | None]) -> bool:
    """Whether every number of the tensors is finite; the device is waited for once."""
    sums = [x.detach().float().sum() for x in values if x is not None]
    return bool(torch.stack(sums).isfinite().all())


def _is_finite(x: Tensor) -> bool:
    return bool(x.detach().float().isfinite().all())  # 8 bits have no isfinite of their own


def _conditions(conditioning: Any) -> Iterator[_Quantity]:
    """Every tensor that a conditioning holds."""
    for field in dataclasses.fields(conditioning):
        value, name = getattr(conditioning, field.name), field.name
        if name == "context":
            yield "The text embeddings are", value, lambda: "load the model again, or in float32"
        elif isinstance(value, Tensor):
            yield f"What the UNet is told as {name} is", value, lambda: "prepare the job anew"
        elif isinstance(value, Mapping):
            for key, one in value.items():
                if isinstance(one, Tensor):
                    what = f"What the UNet is told as {name}[{key!r}] is"
                    yield what, one, lambda: "prepare the job anew"


def _bad_weight(networks: Iterable[nn.Module]) -> str | None:
    """The name of the first weight that is not finite; None where all are, or lie elsewhere."""
    for network in networks:
        for name, weight in network.named_parameters():
            if not weight.is_meta and weight.is_floating_point() and not _is_finite(weight):
                return name
    return None


def _away(networks: Iterable[nn.Module]) -> bool:
    """Whether weights are in place only while their modules run, so that none can be blamed."""
    return any(is_patched(module) for network in networks for module in network.modules())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
