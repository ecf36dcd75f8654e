"""What watching costs: seconds per step and bytes, by what is captured.

The captures take turns step by step within one run, so that whatever else the machine is doing hits
all alike; what counts are the ratios to the step that keeps nothing. Writes a table to standard
output.

    python benchmarks/bench_capture.py                       # the bundled miniature
    python benchmarks/bench_capture.py --sd15 --side 512     # Stable Diffusion 1.5's size, random
    python benchmarks/bench_capture.py --sd15 --device cuda --rounds 20
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import torch

from hdpainter_nb import Capture, Job, Model, Sampler, load, mini
from hdpainter_nb.capture import readable_bytes
from hdpainter_nb.types import Cond, Settings, State

CAPTURES = {
    "nothing": Capture.nothing(),
    "standard": Capture.standard(),
    "standard, q and k of H/16": Capture.standard(queries="self", levels=(16,)),
    "standard, all q and k": Capture.standard(queries=True),
    "everything": Capture.everything(),
    "everything, on disk": Capture.everything(budget=0),
}


def main() -> None:
    """Time the captures' steps in turn and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sd15", action="store_true", help="a random UNet of that size")
    parser.add_argument("--side", type=int, default=512, help="pixels, with --sd15")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    make = random_sd15(given.side, given.device) if given.sd15 else miniature(given.device)
    samplers = {name: make(capture, 2 * given.rounds + 2) for name, capture in CAPTURES.items()}
    times: dict[str, list[float]] = {name: [] for name in samplers}
    for round_ in range(given.rounds + 1):
        for name, sampler in samplers.items():
            started = time.perf_counter()
            sampler.step()
            if given.device != "cpu":
                torch.cuda.synchronize()
            if round_:  # the first warms up
                times[name].append(time.perf_counter() - started)

    plain = times["nothing"]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {given.device}, {given.threads} "
        f"threads, torch {torch.__version__}, {'SD1.5' if given.sd15 else 'mini'}, "
        f"{given.rounds} steps each"
    )
    print("| capture | s / step (median) | x nothing | kept a step | of it on disk |")
    print("|---|---|---|---|---|")
    for name, seconds in times.items():
        trace, steps = samplers[name].trace, given.rounds + 1
        ratio = statistics.median(a / b for a, b in zip(seconds, plain, strict=True))
        print(
            f"| {name} | {statistics.median(seconds):.3f} | {ratio:.3f} "
            f"| {readable_bytes(trace.nbytes / steps)} "
            f"| {readable_bytes(trace.nbytes_on_disk / steps)} |"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"Largest resident set: {readable_bytes(peak)}")


def miniature(device: str) -> Any:
    """Samplers on the bundled miniature, 256 px, without RASG."""
    model, task = load("mini", device=device), mini.triple(0)

    def make(capture: Capture, steps: int) -> Sampler:
        job = Job(task.image, task.mask, task.prompt, steps=steps, rasg=False)
        return Sampler(model, job, capture)

    return make


def random_sd15(side: int, device: str) -> Any:
    """Samplers on a UNet of Stable Diffusion 1.5's size with random weights."""
    from diffusers import UNet2DConditionModel

    dtype = torch.float32 if device == "cpu" else torch.float16
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64, in_channels=9, cross_attention_dim=768, attention_head_dim=8
        ).to(dtype)
    model, h = Model.from_unet(unet), side // 8
    masks = {level: torch.zeros(side // level, side // level) for level in (16, 32)}
    for mask in masks.values():
        n = len(mask) // 4
        mask[n:-n, n:-n] = 1
    new = {"device": device, "dtype": dtype}
    cond = Cond(
        context=torch.randn(2, 77, 768, **new),
        latent_mask=torch.zeros(1, 1, h, h, **new),
        masked_image_latents=torch.randn(1, 4, h, h, **new),
        painta_masks={level: mask.bool().to(device) for level, mask in masks.items()},
        score_mask=masks[32].to(device),
        indices=(1, 2, 3, 6),
        tokens=("<sot>", *"abcde", "<eot>"),
        size=(side, side),
    )
    rng = torch.Generator("cpu").manual_seed(0)
    start = State(0, torch.randn(1, 4, h, h, generator=rng).to(**new), rng.get_state())

    def make(capture: Capture, steps: int) -> Sampler:
        return Sampler.from_cond(model, cond, start, Settings(steps=steps, rasg=False), capture)

    return make


if __name__ == "__main__":
    main()
