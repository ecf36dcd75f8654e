"""Judge the miniature with its oracle: `python -m hdpainter_nb.mini.evaluate -n 200`.

Paints the standard set with plain sampling, and the provocation set with plain sampling, RASG,
PAIntA and both, always from the same seed. Says how often the hole then holds what was asked, how
well the words' attention maps point at it, and how visible the hole's edge is. Both are ordinary
runs of `hdpainter_nb.evaluation`, which the command `hdpainter-nb report` opens as well.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.painting import paint_all
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.scoring import columns_of, rows_of, score_all
from hdpainter_nb.evaluation.systems import METHODS
from hdpainter_nb.mini.oracle_metric import OracleMetric
from hdpainter_nb.mini.triplets import MiniTriplets, SetName
from hdpainter_nb.mini.true_seam import TrueSeam
from hdpainter_nb.mini.watched_system import WatchedSystem
from hdpainter_nb.utils.files import replacing

__all__ = ["evaluate", "main", "summary", "table"]

_SHARES = {
    "success": "oracle",
    "color": "oracle_color",
    "shape": "oracle_shape",
    "nothing": "oracle_nothing",
    "peak_16": "peak_16",
    "peak_32": "peak_32",
}
"""Entries of a summary, and the columns that they are the means of."""
_SOURCES: Mapping[SetName, str] = {"provocation": "mini", "standard": "mini-standard"}
"""The names in `MINI_SETS`, by which the command finds the triplets of a run again."""


def evaluate(
    out: Path,
    count: int,
    *,
    kind: SetName,
    methods: Sequence[str],
    protocol: EvaluationProtocol,
    processes: int = 1,
    **system: Any,
) -> Rows:
    """Paint and judge one set by some methods; goes on with what is in `out`.

    Args:
        out: folder of the run.
        count: triplets.
        kind: of the set.
        methods: names in `METHODS`.
        protocol: steps and the rest.
        processes: that paint side by side.
        system: model and overrides, for `WatchedSystem`.

    Raises:
        EvaluationError: `out` holds a run of other weights or settings.
    """
    triplets = MiniTriplets(kind, count)
    systems = [
        WatchedSystem(name=name, method=name, protocol=protocol, at_once=8, **system)  # type: ignore[arg-type]
        for name in methods
    ]
    source = {"kind": _SOURCES[kind], "options": {"count": count}}
    run = Run.begin(out, protocol, triplets, systems, source=source)
    engine = LocalEngine(processes if processes > 1 else None)
    paint_all(run, systems, triplets, engine=engine, progress=True)
    score_all(run, triplets, [OracleMetric(), TrueSeam()], progress=True)
    chosen = {*triplets.ids}
    rows = [row for row in rows_of(run) if row["id"] in chosen and row["system"] in methods]
    return Rows.of(rows, columns_of(run))


def summary(rows: Rows) -> dict[str, Any]:
    """Shares in percent with standard errors, the seam's ratio to the true one, the mean time."""
    true = rows["true_seam"].sum()
    report: dict[str, Any] = {"n": len(rows)}
    report |= {entry: _share(rows[column]) for entry, column in _SHARES.items()}
    report["seam"] = round(float(rows["true_seam_pasted"].sum() / true), 2)
    report["poisson_seam"] = round(float(rows["true_seam_blended"].sum() / true), 2)
    report["seconds"] = round(float(rows["seconds"].mean()), 2)
    for group in sorted({*rows.groups}):
        report[f"success_{group}"] = _share(rows["oracle"][rows.groups == group])
    return report


def _share(values: Iterable[float]) -> dict[str, float]:
    """Mean and standard error in percent."""
    numbers = 100 * np.array(list(values), np.float64)
    error = numbers.std() / max(len(numbers), 1) ** 0.5
    return {"mean": round(float(numbers.mean()), 1), "error": round(float(error), 1)}


def table(report: Mapping[str, Mapping[str, Any]]) -> str:
    """Summaries by name as a markdown table."""
    lines = [
        "| run | n | " + " | ".join(f"{c} %" for c in _SHARES) + " | seam | blended | s |",
        "|---" * (len(_SHARES) + 5) + "|",
    ]
    for name, entry in report.items():
        shares = (f"{entry[c]['mean']:.1f} ± {entry[c]['error']:.1f}" for c in _SHARES)
        lines.append(
            f"| {name} | {entry['n']} | {' | '.join(shares)} "
            f"| {entry['seam']} | {entry['poisson_seam']} | {entry['seconds']} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=200)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, default=Path("runs/mini/evaluation"))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--settings", type=json.loads, default={}, help="json, given to Job")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--skip-standard", action="store_true")
    given = parser.parse_args(arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    protocol = EvaluationProtocol.named("miniature", steps=given.steps)
    sets: list[tuple[SetName, list[str]]] = [("provocation", given.methods)]
    if not given.skip_standard:
        sets.insert(0, ("standard", ["base"]))
    report: dict[str, Any] = {}
    for kind, methods in sets:
        rows = evaluate(
            given.out / kind,
            given.count,
            kind=kind,
            methods=methods,
            protocol=protocol,
            processes=given.processes,
            model=given.model,
            overrides=given.settings,
        )
        for method in methods:
            name = kind if kind == "standard" else f"{kind} {method}"
            report[name] = {
                "group": kind,
                "method": method,
                "steps": given.steps,
                "settings": {**given.settings, **METHODS[method]},
                **summary(rows.select(system=method)),
            }
    with replacing(given.out / "evaluation.json") as part:
        part.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
