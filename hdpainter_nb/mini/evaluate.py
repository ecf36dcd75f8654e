"""Judge the miniature with its oracle: `python -m hdpainter_nb.mini.evaluate -n 200`.

Paints the standard set with plain sampling, and the provocation set with plain sampling, RASG,
PAIntA and both, always from the same seeds, with the library's own sampler. Says how often the
hole then holds what was asked, how well the words' attention maps point at it, and how visible the
hole's edge is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb import Capture, Job, Sampler, SamplerBatch, load
from hdpainter_nb.images.compositing import paste, poisson
from hdpainter_nb.mini import oracle as judge
from hdpainter_nb.mini.training.parallel import several
from hdpainter_nb.mini.world.holes import Mask
from hdpainter_nb.mini.world.scene import Image
from hdpainter_nb.mini.world.sets import Triple, provocation_set, standard_set
from hdpainter_nb.utils.files import replacing

METHODS: dict[str, dict[str, bool]] = {
    "baseline": {"painta": False, "rasg": False},
    "RASG": {"painta": False, "rasg": True},
    "PAIntA": {"painta": True, "rasg": False},
    "both": {"painta": True, "rasg": True},
}
_AT_ONCE = 8  # holes in one UNet call: a third faster than one by one


@dataclass(frozen=True)
class Run:
    """One set painted with one method; `settings` go to `Job` as they are."""

    name: str
    group: str  # "standard" or "provocation"
    method: str
    count: int
    steps: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What was seen in one painted hole.

    Peaks are the shares of the two words whose map's highest cell lies in the hole; edges are sums
    of squared steps across the hole's rim: with the known pixels pasted back, blended by gradients
    instead, and in the true picture.
    """

    kind: str
    color: bool
    shape: bool
    nothing: bool
    peak_16: float
    peak_32: float
    edge: float
    poisson_edge: float
    true_edge: float
    seconds: float


def peak_inside(heat: NDArray[np.floating], mask: Mask) -> bool:
    """Whether the highest cell of a map `(h, w)` lies in the hole (half of it or more)."""
    rows, columns = heat.shape
    cover = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    top = int(heat.argmax())
    return bool(cover.flat[top] >= min(0.5, float(cover.max())))


def rim_energy(image: Image, mask: Mask) -> float:
    """Sum over pixel pairs across the hole's rim of the squared difference."""
    values, total = image.astype(np.float64), 0.0
    for axis in (0, 1):
        crossing = np.diff(mask.astype(np.int8), axis=axis) != 0
        steps = np.square(np.diff(values, axis=axis)).sum(-1)
        total += float(steps[crossing].sum())
    return total


def paint(
    model: Any, tasks: Sequence[Triple], run: Run, seeds: Sequence[int]
) -> list[tuple[Image, dict[str, Any]]]:
    """Fill some holes at once; each picture as decoded, and its words' mean maps."""
    capture = Capture.standard().replace(c=False, similarity=False, levels=(16, 32))
    samplers = []
    for task, seed in zip(tasks, seeds, strict=True):
        job = Job(task.image, task.mask, task.prompt, steps=run.steps, seed=seed, **run.settings)
        samplers.append(Sampler(model, job, capture=capture))
    started = time.perf_counter()
    SamplerBatch.of(samplers).run()
    seconds = (time.perf_counter() - started) / len(samplers)
    found = []
    for task, sampler in zip(tasks, samplers, strict=True):
        means = {
            f"{word} {level}": np.mean([r.cross[word, level] for r in sampler.records], 0)
            for word in (task.color, task.shape)
            for level in (16, 32)
        }
        found.append((sampler.image(), {"seconds": seconds, **means}))
    return found


def assess(oracle: judge.Oracle, task: Triple, picture: Image, seen: dict[str, Any]) -> Result:
    """Compare one painted picture, as decoded, with what its task asked for."""
    image = paste(task.image, picture, task.mask.astype(np.float32))
    color, shape = oracle.judge([image], [task.mask])[0]
    peaks = [
        float(np.mean([peak_inside(seen[f"{word} {level}"], task.mask) for word in words]))
        for words in ((task.color, task.shape),)
        for level in (16, 32)
    ]
    return Result(
        kind=task.kind,
        color=color == task.color,
        shape=shape == task.shape,
        nothing=judge.NOTHING in (color, shape),
        peak_16=peaks[0],
        peak_32=peaks[1],
        edge=rim_energy(image, task.mask),
        poisson_edge=rim_energy(poisson(task.image, picture, task.mask), task.mask),
        true_edge=rim_energy(task.truth, task.mask),
        seconds=seen["seconds"],
    )


def _share(values: Iterable[float]) -> dict[str, float]:
    """Mean and standard error in percent."""
    numbers = 100 * np.array(list(values), np.float64)
    error = numbers.std() / max(len(numbers), 1) ** 0.5
    return {"mean": round(float(numbers.mean()), 1), "error": round(float(error), 1)}


def summary(results: list[Result]) -> dict[str, Any]:
    """Shares with standard errors, the seam ratios and the mean time of one picture."""
    true = sum(r.true_edge for r in results)
    return {
        "n": len(results),
        "success": _share(r.color and r.shape for r in results),
        "color": _share(r.color for r in results),
        "shape": _share(r.shape for r in results),
        "nothing": _share(r.nothing for r in results),
        "peak_16": _share(r.peak_16 for r in results),
        "peak_32": _share(r.peak_32 for r in results),
        "seam": round(sum(r.edge for r in results) / true, 2),
        "poisson_seam": round(sum(r.poisson_edge for r in results) / true, 2),
        "seconds": round(float(np.mean([r.seconds for r in results])), 2),
    }


def _tile(task: Triple, image: Image) -> NDArray[np.uint8]:
    """The masked picture above the painted one, half size, with the prompt."""
    veiled = task.image.copy()
    veiled[task.mask] = veiled[task.mask] // 3 + 150
    pair = [cv2.resize(i, (128, 128), interpolation=cv2.INTER_AREA) for i in (veiled, image)]
    label = np.zeros((14, 128, 3), np.uint8)
    cv2.putText(label, task.prompt[:30], (2, 10), 0, 0.28, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([*pair, label])


def _work(
    rank: int, processes: int, model_folder: str, runs: list[Run], out: Path, minutes: float
) -> None:
    """One process' share: every `processes`-th task, painted by every run, until time is up.

    Goes on with what an earlier call left in `out`, of the same weights and settings.
    """
    torch.set_num_threads(1)
    model = load(model_folder)
    oracle = judge.load(Path(model_folder) / "oracle.safetensors")
    sets = {"standard": standard_set, "provocation": provocation_set}
    tasks = {group: make(max(r.count for r in runs)) for group, make in sets.items()}
    folder, part = Path(model_folder), out / f"part-{rank}.json"
    stamps = {run.name: stamp(folder, run, sets[run.group](4), processes) for run in runs}
    before = json.loads(part.read_text()) if part.exists() else {"stamps": {}}
    same = [name for name in stamps if before["stamps"].get(name) == stamps[name]]
    results: dict[str, list[dict[str, Any]]] = {run.name: [] for run in runs}
    results |= {name: before["results"][name] for name in same}
    tiles: dict[str, list[NDArray[np.uint8]]] = {run.name: [] for run in runs}
    started = time.monotonic()
    own = range(rank, max(r.count for r in runs), processes)
    for start in range(0, len(own), _AT_ONCE):
        if time.monotonic() - started > 60 * minutes:
            break
        for run in runs:
            due = own[max(start, len(results[run.name])) : start + _AT_ONCE]
            chosen = [index for index in due if index < run.count]
            given = [tasks[run.group][index] for index in chosen]
            painted = paint(model, given, run, [1000 + index for index in chosen]) if given else []
            for task, (picture, seen) in zip(given, painted, strict=True):
                results[run.name].append(asdict(assess(oracle, task, picture, seen)))
                if len(tiles[run.name]) < 24:
                    image = paste(task.image, picture, task.mask.astype(np.float32))
                    tiles[run.name].append(_tile(task, image))
        with replacing(part) as whole:  # what is half written could not be taken up again
            whole.write_text(json.dumps({"stamps": stamps, "results": results}))
        for name, pictures in tiles.items():
            if pictures:
                _sheet(pictures, out / f"{name} {rank}.png")


def stamp(model: Path, run: Run, tasks: Sequence[Triple], processes: int) -> str:
    """What the results of a run depend on, the number of its tasks apart; a few stand for all."""
    weights = b"".join(f.read_bytes() for f in sorted(model.rglob("*.safetensors")))
    seen = b"".join(t.image.tobytes() + t.mask.tobytes() + t.prompt.encode() for t in tasks)
    about = {**asdict(run), "count": None, "processes": processes}
    return hashlib.sha256(weights + seen + json.dumps(about, sort_keys=True).encode()).hexdigest()


def _sheet(tiles: list[NDArray[np.uint8]], path: Path) -> None:
    """Write tiles, eight in a row, as one picture."""
    full = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % 8)]
    rows = [np.hstack(full[i : i + 8]) for i in range(0, len(full), 8)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def evaluate(
    model: str, runs: list[Run], out: Path, processes: int = 2, minutes: float = 1e9
) -> dict[str, Any]:
    """Paint and judge all runs; writes pictures and `evaluation.json` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    if processes == 1:
        _work(0, 1, model, runs, out, minutes)
    else:
        several(_work, processes, processes, model, runs, out, minutes)
    return collect(runs, out)


def collect(runs: list[Run], out: Path) -> dict[str, Any]:
    """Summarise what the processes have written so far."""
    parts = [json.loads(path.read_text()) for path in sorted(out.glob("part-*.json"))]
    report: dict[str, Any] = {}
    for run in runs:
        results = [Result(**r) for part in parts for r in part["results"][run.name]]
        report[run.name] = {**asdict(run), **summary(results)}
        for kind in sorted({r.kind for r in results}):
            chosen = [r for r in results if r.kind == kind]
            report[run.name][f"success_{kind}"] = _share(r.color and r.shape for r in chosen)
    (out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a markdown table."""
    columns = ("success", "color", "shape", "nothing", "peak_16", "peak_32")
    lines = [
        "| run | n | " + " | ".join(f"{c} %" for c in columns) + " | seam | blended | s |",
        "|---" * (len(columns) + 5) + "|",
    ]
    for name, entry in report.items():
        shares = (f"{entry[c]['mean']:.1f} ± {entry[c]['error']:.1f}" for c in columns)
        lines.append(
            f"| {name} | {entry['n']} | {' | '.join(shares)} "
            f"| {entry['seam']} | {entry['poisson_seam']} | {entry['seconds']} |"
        )
    return "\n".join(lines)


def plan(count: int, steps: int, settings: dict[str, Any], methods: Iterable[str]) -> list[Run]:
    """The standard set with the baseline, the provocation set with each method."""
    first = Run("standard", "standard", "baseline", count, steps, settings | METHODS["baseline"])
    return [
        first,
        *(
            replace(first, name=f"provocation {m}", group="provocation", method=m,
                    settings=settings | METHODS[m])
            for m in methods
        ),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=200)
    parser.add_argument("--model", default="data/mini")
    parser.add_argument("--out", type=Path, default=Path("runs/mini/evaluation"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after these")
    parser.add_argument("--settings", type=json.loads, default={}, help="json, given to Job")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--skip-standard", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    runs = plan(given.count, given.steps, given.settings, given.methods)
    runs = runs[given.skip_standard :]
    report = evaluate(given.model, runs, given.out, given.processes, given.minutes)
    print(table(report))
    for name, entry in report.items():
        kinds = {k: v for k, v in entry.items() if k.startswith("success_")}
        print(name, kinds)


if __name__ == "__main__":
    main()
