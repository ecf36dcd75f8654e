"""Under every scheduler of diffusers a watched record tells alpha and x0 of the UNet's own input.

The UNet is replaced by one that is exact for a picture that is known. In one half of the latents x0
is 1 and there is no noise, in the other x0 is 0 and the noise is 1: what the UNet is given is
sqrt(alpha) there and sqrt(1 - alpha) here, whatever the scheduler does in between, as long as it
draws no noise of its own. That is read from the UNet's input and from nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import types
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch.overrides import TorchFunctionMode

from hdpainter_nb import Capture, watch
from hdpainter_nb.errors import ModelError
from hdpainter_nb.models import vae

pytestmark = pytest.mark.diffusers

NOISY = {  # those whose steps add noise, which the second half of the latents would lack
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DPMSolverSDEScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
}
QUIET = {
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
}
REFUSED = {  # other arguments of their step, or latents of another timestep than they say
    "CogVideoXDPMScheduler",
    "DDIMInverseScheduler",
    "RePaintScheduler",
}
UNSOLVED = {  # what these do not take themselves
    ("DPMSolverSDEScheduler", "sample"),
    ("EulerAncestralDiscreteScheduler", "sample"),
    ("KDPM2AncestralDiscreteScheduler", "sample"),
    ("KDPM2DiscreteScheduler", "sample"),
    ("PNDMScheduler", "sample"),
    # a mean of v at several levels is no v of any of them: the solver strays from its own schedule
    ("PNDMScheduler", "v_prediction"),
}
CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}


class NoNoise(TorchFunctionMode):
    """Inside, what is drawn is zero."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        return torch.zeros_like(out) if func in (torch.randn, torch.randn_like) else out


class Still:
    """A Brownian motion that does not move."""

    def __init__(self, *_: Any, **more: Any) -> None:
        self.shape = more["size"]

    def __call__(self, *_: Any) -> torch.Tensor:
        return torch.zeros(self.shape)


def integral(function: Any, low: float, high: float, **_: Any) -> tuple[float, float]:
    """Of a polynomial, as `scipy.integrate.quad` gives it."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    low, high = float(low), float(high)
    points = (high - low) / 2 * nodes + (high + low) / 2
    values = [function(point) for point in points]
    return float((high - low) / 2 * np.dot(weights, values)), 0.0


def stand_ins() -> dict[str, types.ModuleType]:
    """For what some schedulers import and need not be there: torchsde, and scipy."""
    names = ("torchsde", "scipy", "scipy.stats", "scipy.integrate")
    made = {name: types.ModuleType(name) for name in names}
    for name in ("BrownianTree", "BrownianInterval"):
        setattr(made["torchsde"], name, Still)
    vars(made["scipy.integrate"])["quad"] = integral
    vars(made["scipy"]).update(stats=made["scipy.stats"], integrate=made["scipy.integrate"])
    absent = {name for name in ("torchsde", "scipy") if importlib.util.find_spec(name) is None}
    return {name: module for name, module in made.items() if name.partition(".")[0] in absent}


def every_scheduler() -> dict[str, Any]:
    package, made = diffusers.schedulers, stand_ins()
    names = [one.name for one in pkgutil.iter_modules(package.__path__)]
    sys.modules.update(made)
    try:
        modules = [
            importlib.import_module(f"{package.__name__}.{name}")
            for name in names
            if name.startswith("scheduling_") and "flax" not in name
        ]
    finally:
        for name in made:
            del sys.modules[name]
    found = [kind for module in modules for _, kind in inspect.getmembers(module)]
    schedulers = [k for k in found if inspect.isclass(k) and issubclass(k, SchedulerMixin)]
    return {kind.__name__: kind for kind in schedulers if kind is not SchedulerMixin}


SCHEDULERS = every_scheduler()


@pytest.fixture(autouse=True)
def no_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fitted to the VAE, which takes longer than all else here."""
    monkeypatch.setattr(vae, "fit_preview", lambda *_: vae.NEUTRAL)


@pytest.fixture(scope="module")
def pipe(folders: dict[str, str]) -> Any:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folders["sd15-4ch"])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make(name: str, **more: Any) -> Any:
    """A scheduler on Stable Diffusion's noise schedule; None where it cannot be made so."""
    kind = SCHEDULERS[name]
    module = sys.modules[kind.__module__]
    if not hasattr(module, "integrate") and "integrate" in inspect.getsource(module):
        module.integrate = types.SimpleNamespace(quad=integral)  # type: ignore[attr-defined]
        module.is_scipy_available = lambda: True  # type: ignore[attr-defined]
    if name == "DPMSolverSDEScheduler":
        module.torchsde = types.SimpleNamespace(  # type: ignore[attr-defined]
            BrownianTree=Still, BrownianInterval=Still
        )
    taken = inspect.signature(kind.__init__).parameters
    try:
        return kind(**{k: v for k, v in {**CONFIG, **more}.items() if k in taken})
    except (NotImplementedError, TypeError, ValueError):
        return None


def scheduler_lacks_alphas(scheduler: Any) -> bool:
    return getattr(scheduler, "alphas_cumprod", None) is None


def exact(scheduler: Any, prediction: str) -> Any:
    """A UNet that knows x0 and the noise, in the place of a UNet's `forward`."""

    def forward(sample: Any, timestep: Any, *_: Any, **__: Any) -> Any:
        a = sample[:, :, :, :8].mean()  # sqrt(alpha): there x0 is 1, and no noise
        x0, noise = known(sample)
        b = (1 - a**2).clamp_min(0) ** 0.5
        outputs = {"epsilon": noise, "v_prediction": a * noise - b * x0, "sample": x0}
        return (outputs[prediction],)

    return forward


def known(like: Any) -> tuple[Any, Any]:
    """x0 and noise."""
    x0 = torch.zeros_like(like)
    x0[:, :, :, :8] = 1
    return x0, 1 - x0


def records(pipe: Any, scheduler: Any, monkeypatch: Any) -> Any:
    """What is seen of a run on the picture that is known.

    Of 5 steps: where the number does not divide 1000, some schedulers step to one timestep and say
    another.
    """
    steps = 5
    prediction = scheduler.config.get("prediction_type", "epsilon")
    monkeypatch.setattr(pipe, "scheduler", scheduler)
    with watch(pipe, capture=Capture.nothing()) as trace:
        monkeypatch.setattr(pipe.unet, "forward", exact(scheduler, prediction))
        twin = type(scheduler).from_config(scheduler.config)
        twin.set_timesteps(steps)
        x0, noise = known(torch.empty(1, 4, 16, 16))
        if type(scheduler).__name__ == "SASolverScheduler":  # adds noise of a rounded timestep
            start = (x0 + twin.sigmas[0] * noise) / (1 + twin.sigmas[0] ** 2) ** 0.5
        else:
            start = twin.add_noise(x0, noise, twin.timesteps[:1]) / twin.init_noise_sigma
        with NoNoise():
            pipe(
                "a red star",
                height=128,
                width=128,
                num_inference_steps=steps,
                guidance_scale=1.0,
                latents=start,
                output_type="latent",
            )
    assert len(trace) >= steps
    return trace


def check(trace: Any, *, quiet: bool) -> None:
    for record in trace:
        given = record.latents.astype(np.float64)  # the UNet's own input
        assert record.alpha == pytest.approx((given[..., :8] ** 2).mean(), rel=1e-3, abs=1e-7)
        if quiet:
            assert 1 - record.alpha == pytest.approx((given[..., 8:] ** 2).mean(), rel=2e-3)
        np.testing.assert_allclose(record.x0_latents[..., :8], 1, rtol=5e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_scheduler_is_right_or_refused(
    pipe: Any, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make(name, prediction_type=kind)
    if scheduler is None or (name, kind) in UNSOLVED:
        assert name not in NOISY | QUIET or kind != "epsilon"
        return
    monkeypatch.setattr(pipe, "scheduler", scheduler)
    if name in REFUSED or scheduler_lacks_alphas(scheduler):
        with pytest.raises(ModelError, match=name), watch(pipe):
            pass
        return
    check(records(pipe, scheduler, monkeypatch), quiet=name in QUIET)


@pytest.mark.parametrize(
    "more",
    [
        {"use_karras_sigmas": True},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        {"final_sigmas_type": "sigma_min", "algorithm_type": "dpmsolver"},
        {"skip_prk_steps": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", sorted(QUIET | NOISY))
def test_however_it_is_set_up(
    pipe: Any, name: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "epsilon" if name == "PNDMScheduler" else "v_prediction"
    scheduler = make(name, prediction_type=kind, **more)
    if scheduler is not None and {*more} & {*scheduler.config}:
        check(records(pipe, scheduler, monkeypatch), quiet=name in QUIET)
