"""Measure the miniature x4 upscaler: `python -m hdpainter_nb.mini.evaluate_x4 -n 50`.

Held-out scenes with a hole whose true content is known. The small picture is the truth reduced,
its hole softened by the inpainting miniature's autoencoder, as in use. Every variant of
`upscale_variants` is compared with the truth, in the hole and in a band along its edge.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb import UpscaleJob, load, load_upscaler
from hdpainter_nb.images.compositing import paste
from hdpainter_nb.mini.training.parallel import several
from hdpainter_nb.mini.world.large import (
    LargeTask,
    band,
    decibels,
    error,
    gradient_energy,
    large_task,
)
from hdpainter_nb.mini.world.scene import Image
from hdpainter_nb.models import vae
from hdpainter_nb.upscale.ablation import upscale_variants

TRUTH = "truth"


def softened(mini: Any, task: LargeTask) -> Image:
    """The small picture as the inpainting miniature would give it: its hole through the VAE."""
    unit = torch.from_numpy(task.low.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    rng = torch.Generator().manual_seed(0)
    decoded = vae.decode(mini.pipe, vae.encode(mini.pipe, unit, "mean", rng))
    return paste(task.low, decoded, task.hole.astype(np.float32))


def assess(task: LargeTask, pictures: dict[str, Image]) -> dict[str, dict[str, float]]:
    """Squared errors and gradient energies of every picture, in the hole and along its edge."""
    edge = band(task.mask)
    return {
        name: {
            "hole": error(picture, task.truth, task.mask),
            "edge": error(picture, task.truth, edge),
            "hole_energy": gradient_energy(picture, task.mask),
            "edge_energy": gradient_energy(picture, edge),
        }
        for name, picture in {TRUTH: task.truth, **pictures}.items()
    }


def summary(results: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Per variant: mean PSNR in dB with its standard error, and energies relative to the truth's.

    The lead in dB over the first variant, scene by scene, has the smaller error of paired figures.
    """
    report: dict[str, Any] = {}
    names = [name for name in results[0] if name != TRUTH]
    for name in names:
        entry: dict[str, Any] = {}
        for place in ("hole", "edge"):
            values = np.array([decibels(r[name][place]) for r in results])
            lead = values - [decibels(r[names[0]][place]) for r in results]
            for key, numbers in ((f"psnr_{place}", values), (f"lead_{place}", lead)):
                fault = float(numbers.std() / len(numbers) ** 0.5)
                entry[key] = {"mean": round(float(numbers.mean()), 2), "error": round(fault, 2)}
            energies = [sum(r[n][f"{place}_energy"] for r in results) for n in (name, TRUTH)]
            entry[f"energy_{place}"] = round(energies[0] / energies[1], 2)
        report[name] = entry
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a markdown table."""
    lines = [
        "| variant | PSNR hole | PSNR edge | lead hole | lead edge | energy hole | energy edge |",
        "|---" * 7 + "|",
    ]
    for name, entry in report["variants"].items():
        keys = ("psnr_hole", "psnr_edge", "lead_hole", "lead_edge")
        shown = (f"{entry[k]['mean']:.2f} ± {entry[k]['error']:.2f}" for k in keys)
        lines.append(
            f"| {name} | {' | '.join(shown)} | {entry['energy_hole']} | {entry['energy_edge']} |"
        )
    return "\n".join(lines)


def tile(task: LargeTask, pictures: dict[str, Image]) -> NDArray[np.uint8]:
    """One row: the picture with its hole veiled, the truth, every variant; at half size."""
    veiled = task.image.copy()
    veiled[task.mask] = veiled[task.mask] // 3 + 150
    row = [veiled, task.truth, *pictures.values()]
    half = (task.mask.shape[1] // 2, task.mask.shape[0] // 2)
    return np.hstack([cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in row])


def _work(
    rank: int, processes: int, folders: tuple[str, str], count: int, side: int,
    settings: dict[str, Any], out: Path, minutes: float,
) -> None:  # fmt: skip
    """One process' share: every `processes`-th task, until time is up."""
    torch.set_num_threads(1)
    model, mini = load_upscaler(folders[0], device="cpu"), load(folders[1], device="cpu")
    results, seconds = [], 0.0
    started = time.monotonic()
    for seed in range(rank, count, processes):
        if time.monotonic() - started > 60 * minutes:
            break
        whole = large_task(seed)
        low = softened(mini, whole)
        task = LargeTask(**{**whole.__dict__, "low": low}).crop(side)
        job = UpscaleJob(task.low, task.image, task.mask, task.prompt, seed=1000 + seed, **settings)
        begun = time.perf_counter()
        pictures = upscale_variants(model, job)
        seconds += time.perf_counter() - begun
        results.append(assess(task, pictures))
        part = {"results": results, "seconds": seconds}
        (out / f"part-{rank}.json").write_text(json.dumps(part), encoding="utf-8")
        if len(results) <= 12:
            row = tile(task, pictures)
            cv2.imwrite(str(out / f"scene {seed:02d}.png"), row[..., ::-1])


def evaluate(
    folders: tuple[str, str], count: int, side: int, settings: dict[str, Any], out: Path,
    processes: int = 2, minutes: float = 1e9,
) -> dict[str, Any]:  # fmt: skip
    """Measure all variants; writes rows of pictures and `evaluation.json` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    args = (processes, folders, count, side, settings, out, minutes)
    if processes == 1:
        _work(0, *args)
    else:
        several(_work, processes, *args)
    parts = [json.loads((out / f"part-{k}.json").read_text()) for k in range(processes)]
    results = [r for part in parts for r in part["results"]]
    report = {"n": len(results), "side": side, "settings": settings, "variants": summary(results)}
    text = json.dumps(report, indent=2)
    (out / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=50)
    parser.add_argument("--model", default="mini", help="what load_upscaler takes")
    parser.add_argument("--mini", default="mini", help="what load takes, for the softening")
    parser.add_argument("--out", type=Path, default=Path("runs/mini_x4/evaluation"))
    parser.add_argument("--side", type=int, default=512, help="large pixels of the crop")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after these")
    parser.add_argument("--settings", type=json.loads, default={}, help="json, given to UpscaleJob")
    given = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    report = evaluate(
        (given.model, given.mini), given.count, given.side,
        {"steps": given.steps, **given.settings}, given.out, given.processes, given.minutes,
    )  # fmt: skip
    print(table(report))


if __name__ == "__main__":
    main()
