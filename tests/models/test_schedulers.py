"""Schedulers other than DDIM: stock results to the last bit, steps that can be made again, RASG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline

from hdpainter_nb import Capture, Job, Sampler, Trace, load
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import (
    SCHEDULERS,
    DiffusersScheduler,
    Guided,
    State,
    from_arrays,
    mix_noise,
    to_arrays,
)
from hdpainter_nb.sampling.predict import predict
from hdpainter_nb.settings import NOISY, Settings
from support.stock_runs import latents_of, run_stock

pytestmark = [
    pytest.mark.diffusers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs
]

NAMES = tuple(SCHEDULERS)
STEPS = 5
PLAIN: dict[str, Any] = {
    "preset": "community",
    "painta": False,
    "rasg": False,
    "steps": STEPS,
    "seed": 3,
    "positive_suffix": "",
    "negative_prompt": "blurry",
}
STOCK: dict[str, tuple[str, dict[str, Any]]] = {  # written out once more, on purpose
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "pndm": ("PNDMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++_2m_sde_karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "unipc": ("UniPCMultistepScheduler", {}),
}


def stepped(
    scheduler: DiffusersScheduler,
    output: torch.Tensor,
    x: torch.Tensor,
    index: int,
    memory: Any = None,
    seed: int = 0,
) -> tuple[torch.Tensor, Any]:
    """The latent after a step, and what the scheduler then remembers."""
    state = State(index, x, torch.Generator().manual_seed(seed).get_state(), memory=memory)
    after = scheduler.step(state, Guided(output, output, output), None)
    return after.latents, after.memory


def plain(job: Job, **more: Any) -> Job:
    return Job(job.image, job.mask, job.prompt, **{**PLAIN, **more})


def stock(folder: str, job: Job, **call: Any) -> list[torch.Tensor]:
    """Every latent that the stock pipeline passes through under the job's scheduler."""
    import diffusers

    pipe = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    name, options = STOCK[job.settings.scheduler]
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **options)
    return run_stock(pipe, job, **call)[0]


def assert_same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    assert len(ours) == len(theirs)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.equal(a, b), f"step {number}: off by {(a - b).abs().max():.3g}"


# --- against the stock pipeline ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_bit_equal_to_the_stock_pipeline(name: str, folders: dict[str, str], job: Job) -> None:
    job = plain(job, scheduler=name)
    sampler = Sampler(load(folders["sd15"]), job)
    sampler.run()
    assert_same(latents_of(sampler), stock(folders["sd15"], job))


@pytest.mark.parametrize("name", ["pndm", "euler_a", "dpm++_2m_sde_karras"])
@pytest.mark.parametrize("kind", ["sd15-4ch", "sd2-v"])
def test_bit_equal_with_4_channels_and_with_v(
    kind: str, name: str, folders: dict[str, str], job: Job
) -> None:
    job = plain(job, scheduler=name)
    sampler = Sampler(load(folders[kind]), job)
    sampler.run()
    assert_same(latents_of(sampler), stock(folders[kind], job))


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("sd15", name) for name in ("ddim", *NAMES)), ("sd15-4ch", "ddim"), ("sd15-4ch", "euler_a")],
)
def test_bit_equal_where_the_picture_is_started_from(
    kind: str, name: str, folders: dict[str, str], job: Job
) -> None:
    """A strength below 1 leaves out the first steps and starts with the noised picture."""
    job = plain(job, scheduler=name, strength=0.7, ddim_eta=0.0)
    sampler = Sampler(load(folders[kind]), job, Capture.nothing())
    sampler.run()
    assert sampler.total == (4 if name == "pndm" else 3)
    assert_same(latents_of(sampler), stock(folders[kind], job, strength=0.7))


def test_strength_decides_where_a_run_starts(model: Model, job: Job, tmp_path: Path) -> None:
    """It is the trajectory's: a saved run goes on with it, and no later branch changes it."""
    whole = Sampler(model, job, Capture.nothing())
    part = Sampler(model, job.replace(strength=0.5), Capture.nothing())
    assert part.timesteps == whole.timesteps[3:]
    part.step()
    with pytest.raises(SettingsError, match="strength"):
        part.branch(strength=0.9)
    again = Sampler.from_trace(model, Trace.load(part.trace.save(tmp_path / "run.hdp")))
    assert again.timesteps == part.timesteps
    np.testing.assert_array_equal(again.run().x0_latents, part.run().x0_latents)
    with pytest.raises(SettingsError, match=r"strength=0.1 leaves none of 6 steps: use a strength"):
        job.replace(strength=0.1)
    with pytest.raises(SettingsError, match="strength must be"):
        job.replace(strength=1.5)
    assert Settings().skipped_steps == 0


# --- going back, branching, saving ---------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_step_made_again_is_the_same_step(name: str, model: Model, job: Job) -> None:
    sampler = Sampler(model, plain(job, scheduler=name), Capture.nothing())
    sampler.run()
    again = sampler.back(3).branch(vanilla_scale=7.0)  # has no effect, so nothing is reused
    again.run()
    made = [node.branch for node in again.trace.path(again.branch_name)]
    assert made[-3:] == [again.branch_id] * 3  # they were made indeed
    assert_same(latents_of(again), latents_of(sampler))


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_run_goes_on_as_if_it_had_not_stopped(
    name: str, model: Model, job: Job, tmp_path: Path
) -> None:
    job = plain(job, scheduler=name)
    whole, half = (Sampler(model, job, Capture.nothing()) for _ in range(2))
    whole.run()
    half.run(3)
    loaded = Trace.load(half.trace.save(tmp_path / "half.hdp"))
    resumed = Sampler.from_trace(model, loaded)
    resumed.run()
    assert_same(latents_of(resumed), latents_of(whole))


def test_a_step_changes_nothing_but_what_it_returns(model: Model) -> None:
    solver = DiffusersScheduler("unipc", model.schedule, STEPS)
    torch.manual_seed(0)
    x, output = torch.randn(2, 1, 4, 4, 4)
    memory, seen = None, []
    for index in range(STEPS):
        before = to_arrays(memory)
        after, learnt = stepped(solver, output, x, index, memory)
        assert torch.equal(after, stepped(solver, output, x, index, memory)[0])
        np.testing.assert_equal(to_arrays(memory), before)
        np.testing.assert_equal(to_arrays(from_arrays(to_arrays(learnt), x)), to_arrays(learnt))
        x, memory = after, learnt
        seen.append(after)
    assert len({float(x.std()) for x in seen}) == STEPS


def test_the_users_scheduler_stays_as_it_is(model: Model, job: Job) -> None:
    scheduler = model.pipe.scheduler
    before = dict(vars(scheduler))
    Sampler(model, plain(job, scheduler="dpm++_2m")).run()
    assert model.pipe.scheduler is scheduler
    assert all(vars(scheduler)[name] is value for name, value in before.items())


def test_the_scheduler_changes_only_at_the_start(model: Model, job: Job) -> None:
    sampler = Sampler(model, plain(job), Capture.nothing())
    other = sampler.branch(scheduler="euler")
    other.run()
    assert_same(latents_of(other), latents_of(_run(Sampler(model, plain(job, scheduler="euler")))))
    sampler.step()
    with pytest.raises(SettingsError, match="scheduler can change only before the first step"):
        sampler.branch(scheduler="euler")


def _run(sampler: Sampler) -> Sampler:
    sampler.run()
    return sampler


# --- what a record says --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_record_speaks_of_what_the_unet_takes(name: str, model: Model, job: Job) -> None:
    """x_t = sqrt(alpha) x0 + sqrt(1 - alpha) eps, whatever scale the scheduler works on."""
    taken: list[np.ndarray] = []
    sampler = Sampler(model, plain(job, scheduler=name, guidance_scale=1.0))
    forward = model.unet.forward

    def note(x: torch.Tensor, t: Any, **more: Any) -> Any:
        said = forward(x, t, **more)
        taken.append((x[0, :4].numpy(), said[0][0].numpy(), float(t)))
        return said

    model.unet.forward = note
    try:
        records = list(sampler)
    finally:
        model.unet.forward = forward
    for record, (x, eps, t) in zip(records, taken, strict=True):
        assert record.timestep == round(t)
        np.testing.assert_array_equal(record.latents, x)
        again = record.alpha**0.5 * record.x0_latents + (1 - record.alpha) ** 0.5 * eps
        np.testing.assert_allclose(again, x, atol=2e-5)
    assert [r.alpha for r in records] == sorted(r.alpha for r in records)


def test_sigma_of_the_ancestral_schedulers_is_that_of_ddpm(model: Model) -> None:
    """sigma_t of eq. 3 at eta = 1, with the cumulative alphas of the solver's own timesteps."""
    for name in ("ddpm", "euler_a"):
        solver = DiffusersScheduler(name, model.schedule, STEPS)
        for index in range(STEPS - 1):
            a, b = float(solver.alpha(index)), float(solver.alpha(index + 1))
            assert solver.sigma(index) == pytest.approx(
                ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5, rel=1e-4
            )
    assert DiffusersScheduler("euler", model.schedule, STEPS).sigma(0) == 0


def test_self_attention_can_be_asked_for(model: Model, job: Job) -> None:
    sampler = Sampler(model, plain(job, scheduler="euler", painta=True))
    sampler.run(2)
    record = sampler.records[0]
    c = np.stack(list(record.c.layers[16].values()))
    asked = sampler.attention(record)
    replayed = np.stack([np.asarray(a) for a in asked.c[16].values()]).reshape(c.shape)
    np.testing.assert_allclose(replayed, c, atol=1e-5)


# --- RASG ----------------------------------------------------------------------------------------


def test_which_schedulers_add_noise(model: Model) -> None:
    """The list in the settings, found out."""
    torch.manual_seed(0)
    x, output = torch.randn(2, 1, 4, 4, 4)
    for name in NAMES:
        solver = DiffusersScheduler(name, model.schedule, STEPS)
        one, two = (stepped(solver, output, x, 0, seed=seed)[0] for seed in (1, 2))
        assert torch.equal(one, two) == (name not in NOISY), name
        assert (solver.sigma(0) > 0) == (name in NOISY), name
    assert {*NOISY} == {"ddim", *(name for name in NAMES if DiffusersScheduler(name, {}, 3).noisy)}
    assert get_args(get_type_hints(Settings)["scheduler"]) == ("ddim", *NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOISY])
def test_without_noise_there_is_no_place_for_the_gradient(name: str, job: Job) -> None:
    with pytest.raises(SettingsError, match=r"adds none: use one that does \('ddim', 'ddpm'"):
        job.replace(scheduler=name)
    job.replace(scheduler=name, guidance="vanilla")
    job.replace(scheduler=name, rasg=False)


@pytest.mark.parametrize("name", [name for name in NAMES if name in NOISY])
@pytest.mark.parametrize("eta", [1.0, 0.1])
def test_the_gradient_takes_the_noises_place(name: str, eta: float, model: Model, job: Job) -> None:
    """x_{t-1} with RASG and without differ by sigma times what differs in the noise."""
    job = plain(job, scheduler=name, painta=False, eta=eta)
    with_noise, with_push = Sampler(model, job), Sampler(model, job.replace(rasg=True))
    start = with_push.state
    rng = torch.Generator()
    rng.set_state(start.rng)
    drawn = torch.randn(start.latents.shape, generator=rng)
    said = predict(model.unet, with_push.stepper.inputs(start))
    assert said.grad is not None
    centred = said.grad - said.grad.mean()  # the community's way (switch 6)
    push = -centred / centred.std()
    one, two = with_noise.step(), with_push.step()
    sigma = two.sigma if name != "euler_a" else two.sigma / one_less_alpha(with_push)
    expected = sigma * (mix_noise(push, drawn, eta) - drawn)
    difference = with_push.state.latents - with_noise.state.latents
    assert two.score == float(said.score)
    assert one.score is None
    torch.testing.assert_close(difference, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(with_push.state.rng, rng.get_state())


def one_less_alpha(sampler: Sampler) -> float:
    """By how much Euler's latent is larger after the first step: 1 over the root of alpha."""
    return float(sampler.stepper.scheduler.at(1).alpha) ** 0.5


def test_vanilla_guidance_reaches_every_scheduler(folders: dict[str, str], job: Job) -> None:
    for kind in ("sd15", "sd2-v"):
        model = load(folders[kind])
        for name in ("euler", "dpm++_2m"):
            off = plain(job, scheduler=name)
            on = off.replace(rasg=True, guidance="vanilla", vanilla_scale=3000.0)
            none = on.replace(vanilla_scale=0.0)
            results = [_run(Sampler(model, j, Capture.nothing())).state.x0 for j in (off, on, none)]
            assert not torch.allclose(results[0], results[1])
            torch.testing.assert_close(results[0], results[2], atol=1e-4, rtol=1e-4)


def test_a_bare_unet_has_a_schedule_too(model: Model, job: Job) -> None:
    cond, _ = model.prepare(job)
    bare = Model.from_unet(model.unet)
    settings = Settings(scheduler="dpm++_2m_sde", steps=STEPS)
    torch.manual_seed(0)
    start = State(0, torch.randn(1, 4, 16, 16), torch.Generator().get_state())
    record = Sampler.from_cond(bare, cond, start, settings).run()
    assert np.isfinite(record.x0_latents).all()
    alphas = DiffusersScheduler("ddpm", bare.schedule, STEPS)
    torch.testing.assert_close(
        alphas.alpha(0), bare.alphas_cumprod[alphas.timesteps[0]], atol=1e-6, rtol=1e-5
    )
