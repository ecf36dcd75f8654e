"""`hdpainter-nb`: run an evaluation, score it, report it, from a terminal."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hdpainter_nb._version import __version__
from hdpainter_nb.errors import EvaluationError, HDPainterError
from hdpainter_nb.evaluation.catalogue import SYSTEMS, system_of, triplets_of, triplets_source
from hdpainter_nb.evaluation.cost import cost_of
from hdpainter_nb.evaluation.engines.engine import Engine
from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.engines.ray import RayEngine
from hdpainter_nb.evaluation.engines.slurm import SlurmEngine
from hdpainter_nb.evaluation.explain import explain
from hdpainter_nb.evaluation.gallery import Exhibits
from hdpainter_nb.evaluation.metric_catalogue import default_metrics, metric_of
from hdpainter_nb.evaluation.painting import Shard, framed_triplet, paint_all
from hdpainter_nb.evaluation.protocol import PROTOCOLS, EvaluationProtocol
from hdpainter_nb.evaluation.report import ReportPlan, write_report
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.scoring import columns_of, rows_of, score_all
from hdpainter_nb.evaluation.system import System
from hdpainter_nb.evaluation.systems import SamplerSystem
from hdpainter_nb.evaluation.tables import Preferred, ablation_table, systems_table
from hdpainter_nb.evaluation.triplet import TripletSet
from hdpainter_nb.evaluation.triplets.sample import DEFAULT_COUNT
from hdpainter_nb.mini.oracle_metric import OracleMetric
from hdpainter_nb.mini.triplets import MiniTriplets
from hdpainter_nb.mini.true_seam import TrueSeam
from hdpainter_nb.mini.watched_system import WatchedSystem

__all__ = ["main"]

_MINI: Mapping[str, Callable[..., TripletSet]] = MappingProxyType(
    {
        "mini": partial(MiniTriplets, "provocation"),
        "mini-standard": partial(MiniTriplets, "standard"),
    }
)
_EPILOG = f"""\
systems:    {", ".join(SYSTEMS)};
            MODEL:METHOD for any model that load() takes (methods: base, rasg, painta, both);
            NAME=FOLDER for pictures made elsewhere, <image>_<segment>.png each
triplets:   a folder of MSCOCO (val2017/, annotations/) with --list mscoco_testset_10000.csv;
            a folder of images/, masks/ and prompts.json; mini, mini-standard
example:    hdpainter-nb evaluate runs/table1 --system ours --system dreamshaper-8 \\
                --triplets ~/coco --list mscoco_testset_10000.csv
            hdpainter-nb score runs/table1
            hdpainter-nb report runs/table1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit status.

    0: all went well; 1: an error, which was said in a sentence; 130: stopped by Ctrl-C.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        given.act(given)
    except HDPainterError as error:
        print(f"hdpainter-nb: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhdpainter-nb: stopped. The same command goes on where it was.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hdpainter-nb",
        description="Measure inpainting systems on the same triplets, as HD-Painter's paper does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_evaluate(commands)
    _add_score(commands)
    _add_report(commands)
    return parser


def _add_evaluate(commands: Any) -> None:
    one = commands.add_parser(
        "evaluate",
        help="paint what is not painted yet",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.set_defaults(act=_evaluate)
    one.add_argument("run", help="the run's folder; an existing one is gone on with")
    one.add_argument("--system", action="append", required=True, metavar="S", help="see below")
    one.add_argument("--triplets", required=True, metavar="T", help="see below")
    one.add_argument("--list", metavar="CSV", help="of MSCOCO's objects: the published one")
    one.add_argument(
        "--n", type=int, default=DEFAULT_COUNT, help="stratified sample; default %(default)s"
    )
    one.add_argument("--all", action="store_true", help="every triplet instead of a sample")
    one.add_argument("--sample-seed", type=int, default=0, help="of the sample")
    one.add_argument(
        "--protocol", choices=list(PROTOCOLS), help="official; for the miniature's sets miniature"
    )
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SWITCH=VALUE",
        help="another value of a switch of the protocol: --set eta=0.1 --set seeds=[1,2,3]",
    )
    one.add_argument("--batch", type=int, default=4, help="triplets in one call; %(default)s")
    one.add_argument("--device", help="cuda, mps, cpu; by default the best there is")
    one.add_argument("--dtype", help="float32, float16, bfloat16; by default by the device")
    one.add_argument("--engine", choices=("local", "ray", "slurm"), default="local")
    one.add_argument("--workers", type=int, help="processes, actors or jobs of the engine")
    one.add_argument("--ray-address", help="of a cluster; else one is started on this machine")
    one.add_argument("--shard", default="1/1", metavar="i/n", help="this machine's share")
    one.add_argument("--estimate", action="store_true", help="say what it costs, paint nothing")


def _add_score(commands: Any) -> None:
    two = commands.add_parser("score", help="score what is not scored yet")
    two.set_defaults(act=_score)
    two.add_argument("run", help="the run's folder")
    two.add_argument(
        "--metric",
        action="append",
        metavar="M",
        help="clip_score, clip_score_l14, accuracy, aesthetic, pickscore, preservation, oracle; "
        "by default those of the paper, or the miniature's",
    )
    two.add_argument(
        "--options", type=json.loads, default={}, metavar="JSON", help="of the metric, as JSON"
    )
    two.add_argument("--device", help="cuda, mps, cpu")


def _add_report(commands: Any) -> None:
    three = commands.add_parser("report", help="tables, intervals, wins and losses as HTML")
    three.set_defaults(act=_report)
    three.add_argument("run", help="the run's folder")
    three.add_argument("--base", help="the system that others are compared with; the first")
    three.add_argument("--ours", help="whose pictures PickScore prefers or not; the last")
    three.add_argument("--out", help="report.html in the run's folder")
    three.add_argument("--csv", help="write the rows there as well")
    three.add_argument("--parquet", help="write the rows there as well (needs pyarrow)")
    three.add_argument(
        "--explain",
        type=int,
        default=0,
        metavar="N",
        help="sample the N clearest wins and losses again and keep their traces, a click away",
    )


# --- what each does ----------------------------------------------------------------------------


def _evaluate(given: argparse.Namespace) -> None:
    name = given.protocol or ("miniature" if given.triplets in _MINI else "official")
    protocol = EvaluationProtocol.named(name, **_switches(given.set))
    if given.triplets in _MINI:  # endless, and in no order: the first ones are as good as any
        source = {"kind": given.triplets, "options": {"count": given.n}}
    else:
        source = triplets_source(
            given.triplets,
            list_file=given.list,
            count=None if given.all else given.n,
            seed=given.sample_seed,
        )
    triplets = _triplets(source)
    systems = [_system(text, protocol, given) for text in given.system]
    run = Run.begin(given.run, protocol, triplets, systems, source=source)
    shard = _shard(given.shard)
    print(cost_of(run, systems, triplets, shard))
    if given.estimate:
        return
    count = paint_all(run, systems, triplets, engine=_engine(given), shard=shard, progress=True)
    print(f"{count} pictures painted; {given.run} is ready for `hdpainter-nb score {given.run}`.")


def _score(given: argparse.Namespace) -> None:
    run = Run.open(given.run)
    triplets = _triplets(run.facts["triplets"].get("source", {}))
    if given.metric:
        metrics = [_metric(name, run, given) for name in given.metric]
    elif triplets.name.startswith("mini"):
        metrics = [OracleMetric(), TrueSeam(), metric_of("preservation", run.protocol)]
    else:
        metrics = default_metrics(run.protocol, device=given.device)
    count = score_all(run, triplets, metrics, progress=True)
    print(f"{count} pictures scored; see `hdpainter-nb report {given.run}`.")


def _metric(name: str, run: Run, given: argparse.Namespace) -> Any:
    if name == OracleMetric.name:
        return OracleMetric(**given.options)
    return metric_of(name, run.protocol, device=given.device, **given.options)


def _report(given: argparse.Namespace) -> None:
    run = Run.open(given.run)
    rows = Rows.of(rows_of(run), columns_of(run))
    if not len(rows):
        raise EvaluationError(f"{given.run!r} has no pictures yet: `hdpainter-nb evaluate` first.")
    triplets = _triplets(run.facts["triplets"].get("source", {}))
    base = given.base or run.systems[0]
    ours = given.ours or run.systems[-1]
    kind = run.protocol.preference
    preferred = (
        Preferred(ours=ours, kind=kind)
        if "pickscore" in rows.columns and len(run.systems) > 1
        else None
    )
    print(systems_table(rows, preferred=preferred).to_markdown())
    if len(run.systems) > 1:
        print(ablation_table(rows, base).to_markdown())
    if given.csv:
        rows.to_csv(given.csv)
    if given.parquet:
        rows.to_parquet(given.parquet)
    if given.explain:
        _explain(run, rows, triplets, (ours, base), given.explain)
    path = write_report(
        given.out or run.folder / "report.html",
        rows,
        facts={k: v for k, v in run.facts.items() if k not in ("format", "triplets")},
        exhibits=Exhibits(
            pictures=run.picture,
            triplets=lambda id: framed_triplet(triplets, id, run.protocol),
            traces=run.traces(),
        ),
        plan=ReportPlan(title=f"Evaluation of {run.folder.name}", base=base, preferred=preferred),
    )
    print(f"Written: {path}")


def _explain(run: Run, rows: Rows, triplets: TripletSet, pair: tuple[str, str], count: int) -> None:
    """Keep the traces of the clearest wins and losses in the first column that is a share."""
    column = next((n for n, c in rows.columns.items() if c.binary), next(iter(rows.columns)))
    paired = rows.paired(*pair, column)
    order = sorted(range(len(paired.ids)), key=lambda place: paired.differences[place])
    chosen = {*order[:count], *order[::-1][:count]}
    for place in sorted(chosen):
        for name in pair:
            settings = run.facts["systems"][name]["settings"]
            if "model" not in settings:
                continue  # a folder of results has no trace
            system = _system_again(run, name, settings)
            explain(run, system, triplets, paired.ids[place], seed=int(paired.seeds[place]))


def _system_again(run: Run, name: str, settings: Mapping[str, Any]) -> SamplerSystem:
    """The system that a run's file tells of."""
    method = next(
        method
        for method, switches in _methods().items()
        if all(settings.get(k) == v for k, v in switches.items())
    )
    return SamplerSystem(
        name=name,
        model=settings["model"],
        method=method,  # type: ignore[arg-type]
        controlnet=settings.get("controlnet"),
        native=bool(settings.get("native")),
        protocol=run.protocol,
    )


def _methods() -> Mapping[str, Mapping[str, bool]]:
    from hdpainter_nb.evaluation.systems import METHODS

    return METHODS


# --- what a user writes --------------------------------------------------------------------------


def _triplets(source: Mapping[str, Any]) -> TripletSet:
    return triplets_of(source, more=_MINI)


def _system(text: str, protocol: EvaluationProtocol, given: argparse.Namespace) -> System:
    options = {k: getattr(given, k) for k in ("device", "dtype") if getattr(given, k)}
    system = system_of(text, protocol, at_once=given.batch, load_options=options)
    if isinstance(system, SamplerSystem) and given.triplets in _MINI:
        return WatchedSystem(**system.__dict__)
    return system


def _switches(texts: Sequence[str]) -> dict[str, Any]:
    switches = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise EvaluationError(f"--set {text!r} is no SWITCH=VALUE, such as eta=0.1.")
        try:
            switches[name] = json.loads(value)
        except ValueError:
            switches[name] = value  # a word
    return switches


def _shard(text: str) -> Shard:
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal()):
        raise EvaluationError(f"--shard {text!r} is no i/n, such as 2/8.")
    return Shard(int(number), int(of))


def _engine(given: argparse.Namespace) -> Engine:
    if given.engine == "ray":
        return RayEngine(address=given.ray_address, actors=given.workers)
    if given.engine == "slurm":
        return SlurmEngine(str(Path(given.run) / "slurm"), jobs=given.workers or 4)
    return LocalEngine(given.workers)


if __name__ == "__main__":
    sys.exit(main())
