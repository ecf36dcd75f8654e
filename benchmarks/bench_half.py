"""How far half precision moves a step of the full-size UNet, on a GPU.

Stable Diffusion 1.5's inpainting UNet with random weights and inputs that float16 and bfloat16 both
hold exactly, so that only the arithmetic differs from float32's: the prediction, c_j, the score S
(eq. 9), and its standardised gradient (eq. 7), which is added as noise of deviation 1.

    python benchmarks/bench_half.py [--side 512]
"""

from __future__ import annotations

import argparse
import dataclasses

import networks
import report
import torch
from torch import Tensor

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.method import rasg
from hdpainter_nb.sampling import predict
from hdpainter_nb.sampling.sampler import Sampler

LEAST = 2.0**-14  # float16's smallest normal number


def exact(x: Tensor) -> Tensor:
    """Numbers near `x` that both kinds of half precision hold."""
    return torch.where(x.abs() < LEAST, 0.0, x.bfloat16().float())


def step(side: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """What one step with both methods computes; the same weights and inputs for every `dtype`."""
    torch.manual_seed(0)
    model, cond, state = networks.sd15(side, torch.float32, "cuda")
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.copy_(exact(parameter))
    network = torch.nn.Module.to(model.unet, dtype)
    names = ("context", "latent_mask", "masked_image_latents")
    cond = dataclasses.replace(cond, **{n: exact(getattr(cond, n)).to(dtype) for n in names})
    latents = exact(state.latents).to(dtype)
    settings = networks.settings(painta=True, rasg=True)
    stepper = Sampler.from_cond(model, cond, state, settings, Capture.nothing()).stepper
    said = predict.predict(network, dataclasses.replace(stepper.inputs(state), x=latents))
    assert said.score is not None
    assert said.grad is not None
    c = [found for layers in said.observations.c.values() for found in layers.values()]
    return {
        "prediction with guidance": said.guided(settings.guidance_scale),
        "c_j of all layers": torch.cat([x.flatten() for x in c]),
        "S": said.score,
        "standardised gradient": rasg.standardised(said.grad, settings.gradient_norm),
    }


def away(found: Tensor, exactly: Tensor) -> str:
    """The norm of the difference over that of the float32 figure."""
    a, b = found.double().cpu(), exactly.double().cpu()
    return f"{float((a - b).norm() / b.norm()):.1e}"


def main() -> None:
    """Measure, where there is a GPU, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="pixels")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here; half precision is measured on one.")
        return
    torch.backends.cudnn.allow_tf32 = False  # float32 is the measure here
    with torch.no_grad():
        figures = {
            dtype: step(given.side, dtype)
            for dtype in (torch.float32, torch.float16, torch.bfloat16)
        }
    exactly = figures.pop(torch.float32)
    rows = [
        [name, *(away(f[name], value) for f in figures.values())] for name, value in exactly.items()
    ]
    text = [
        report.circumstances("cuda"),
        f"SD 1.5's UNet, random weights, {given.side} px, the first step with both methods. The "
        "norm of the difference to float32, over the norm of the float32 figure.",
        report.table(["", *(str(d).removeprefix("torch.") for d in figures)], rows),
    ]
    report.write_section("Half precision on a GPU (`bench_half.py`)", "\n\n".join(text))


if __name__ == "__main__":
    main()
