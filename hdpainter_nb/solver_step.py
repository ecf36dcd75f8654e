"""HD-Painter's step under another scheduler than DDIM: `SolverStepper`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hdpainter_nb.capture import Capture
from hdpainter_nb.settings import Settings
from hdpainter_nb.solvers import Solver, mixed
from hdpainter_nb.step import Said, Stepper, draw
from hdpainter_nb.types import Cond, State

if TYPE_CHECKING:
    from hdpainter_nb.models import Model

__all__ = ["SolverStepper", "stepper"]


def stepper(model: Model, cond: Cond, settings: Settings, capture: Capture) -> Stepper:
    """What makes the steps that the settings ask for."""
    if settings.scheduler == "ddim":
        return Stepper(model, cond, settings, capture)
    solver = Solver(settings.scheduler, model.schedule, settings.steps)
    return SolverStepper(model, cond, settings, capture, solver=solver)


@dataclass(frozen=True, eq=False)
class SolverStepper(Stepper):
    """The steps of HD-Painter's inpainting by a scheduler of diffusers.

    The gradient of S is that with respect to what the UNet takes. Where the scheduler's latent is
    larger by a factor, so much smaller is the gradient with respect to it; g / std(g) is the same.
    """

    solver: Solver = field(kw_only=True)

    @property
    def timesteps(self) -> list[int]:
        """The timestep t of every step, descending, in whole numbers."""
        return [round(t) for t in self.solver.timesteps]

    def here(self, state: State) -> tuple[Tensor, float, Tensor]:
        """x_t as the UNet takes it, t, and the cumulative alpha there."""
        index, solver = state.index, self.solver
        return solver.scaled(state.latents, index), solver.timesteps[index], solver.alpha(index)

    def update(self, state: State, said: Said) -> tuple[State, float]:
        """The scheduler's step, with eta of the gradient in its noise (eq. 7).

        Returns:
            The state after the step, and the standard deviation of what takes the noise's place.
        """
        x, index, noise = state.latents, state.index, None
        rng = torch.Generator("cpu")
        rng.set_state(state.rng)
        if said.push is not None:
            drawn, after = draw(x, state.rng)
            rng.set_state(after)
            noise = mixed(said.push, drawn, self.settings.eta)
        x_prev, memory = self.solver.step(said.output, x, index, state.memory, rng=rng, noise=noise)
        moved = replace(state, index=index + 1, latents=x_prev, rng=rng.get_state(), memory=memory)
        return moved, self.solver.sigma(index)

    def noised(self, known: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents with as much noise as x has before step `index`."""
        return self.solver.known(known, noise, index)
