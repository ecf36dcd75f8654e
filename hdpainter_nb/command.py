"""`hdpainter-nb`: run an evaluation, score it, report it, from a terminal."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from hdpainter_nb._version import __version__
from hdpainter_nb.errors import EvaluationError, HDPainterError
from hdpainter_nb.evaluation.catalogue import (
    SYSTEMS,
    system_of,
    system_of_run,
    triplets_of,
    triplets_source,
)
from hdpainter_nb.evaluation.cost import cost_of
from hdpainter_nb.evaluation.engines.engine import Engine
from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.engines.ray import RayEngine
from hdpainter_nb.evaluation.engines.slurm import SlurmEngine
from hdpainter_nb.evaluation.explaining import explain
from hdpainter_nb.evaluation.gallery import Exhibits
from hdpainter_nb.evaluation.glide_system import GlideSystem
from hdpainter_nb.evaluation.metric_catalogue import NAMES, default_metrics, metric_of
from hdpainter_nb.evaluation.metrics.metric import Metric
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
from hdpainter_nb.mini.triplets import MINI_SETS
from hdpainter_nb.mini.true_seam import TrueSeam
from hdpainter_nb.mini.watched_system import WatchedSystem
from hdpainter_nb.settings import Settings

__all__ = ["main"]

_MINI_METRICS: Mapping[str, Callable[..., Metric]] = MappingProxyType(
    {OracleMetric.name: OracleMetric, TrueSeam.name: TrueSeam}
)
_EPILOG = f"""\
systems:    {", ".join(SYSTEMS)};
            MODEL:METHOD for any model that load() takes (methods: base, rasg, painta, both;
            for text-to-image models bld, bld_sdxl, bld_ldm); SYSTEM@4: the best of 4 by CLIP;
            glide:FOLDER, glide-painta:FOLDER for GLIDE's weight files;
            smartbrush:FOLDER for a model that mini.train_smartbrush has trained;
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
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        given = _parser().parse_args(arguments)
        given.act(given)
    except HDPainterError as error:
        print(f"hdpainter-nb: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a folder that may not be written to, a disk that is full
        where = "" if error.filename is None else f" ({str(error.filename)!r})"
        print(f"hdpainter-nb: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhdpainter-nb: stopped. The same command goes on where it was.", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """One that says what is wrong in a sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        raise EvaluationError(f"{message}. See `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
        "--n", type=_count, default=DEFAULT_COUNT, help="stratified sample; default %(default)s"
    )
    one.add_argument("--all", action="store_true", help="every triplet instead of a sample")
    one.add_argument("--sample-seed", type=_seed, default=0, help="of the sample")
    one.add_argument(
        "--protocol", choices=list(PROTOCOLS), help="official; for the miniature's sets miniature"
    )
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SWITCH=VALUE",
        help="another value of a switch of the protocol (--set eta=0.1 --set seeds=[1,2,3]), or of "
        "a setting of these systems (--set painta_scaling=log)",
    )
    one.add_argument("--batch", type=_count, default=4, help="triplets in one call; %(default)s")
    one.add_argument("--device", help="cuda, mps, cpu; by default the best there is")
    one.add_argument("--dtype", help="float32, float16, bfloat16; by default by the device")
    one.add_argument("--engine", choices=("local", "ray", "slurm"), default="local")
    one.add_argument("--workers", type=_count, help="processes, actors or jobs of the engine")
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
        help=f"{', '.join(NAMES)}; for the miniature {', '.join(_MINI_METRICS)}; by default those "
        "of the paper, or the miniature's",
    )
    two.add_argument(
        "--options",
        type=_options,
        default={},
        metavar="JSON",
        help="""of the metric, as JSON: '{"model": "openai/clip-vit-base-patch32"}'""",
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
        type=_count,
        default=0,
        metavar="N",
        help="sample the N clearest wins and losses again and keep their traces, a click away",
    )
    three.add_argument("--device", help="to sample again on: cuda, mps, cpu")
    three.add_argument("--dtype", help="as for `evaluate`, where one was given there")


# --- what each does ----------------------------------------------------------------------------


def _evaluate(given: argparse.Namespace) -> None:
    name = given.protocol or ("miniature" if given.triplets in MINI_SETS else "official")
    switches, overrides = _switches(given.set)
    protocol = EvaluationProtocol.named(name, **switches)
    if given.triplets in MINI_SETS:  # endless, and in no order: the first ones are as good as any
        if given.all or given.list or given.sample_seed:
            raise EvaluationError(
                f"The set {given.triplets!r} has no end and no list: say with --n how many of its "
                "first triplets, instead of --all, --list and --sample-seed."
            )
        source = {"kind": given.triplets, "options": {"count": given.n}}
    else:
        source = triplets_source(
            given.triplets,
            list_file=given.list,
            count=None if given.all else given.n,
            seed=given.sample_seed,
        )
    triplets = _triplets(source)
    systems = [_system(text, protocol, overrides, given) for text in given.system]
    run = Run.begin(given.run, protocol, triplets, systems, source=source)
    shard = _shard(given.shard)
    print(cost_of(run, systems, triplets, shard))
    if given.estimate:
        return
    count = paint_all(run, systems, triplets, engine=_engine(given), shard=shard, progress=True)
    print(f"{count} pictures painted; {given.run} is ready for `hdpainter-nb score {given.run}`.")


def _score(given: argparse.Namespace) -> None:
    run = Run.open(given.run)
    triplets = _triplets_of(run)
    if given.options and len(given.metric or ()) != 1:
        raise EvaluationError("--options are those of one metric: name it with --metric.")
    if given.metric:
        metrics = [_metric(name, run, given) for name in given.metric]
    elif triplets.name.startswith("mini"):
        metrics = [OracleMetric(), TrueSeam(), metric_of("preservation", run.protocol)]
    else:
        metrics = default_metrics(run.protocol, device=given.device)
    count = score_all(run, triplets, metrics, progress=True)
    print(f"{count} pictures scored; see `hdpainter-nb report {given.run}`.")


def _metric(name: str, run: Run, given: argparse.Namespace) -> Metric:
    if name not in _MINI_METRICS:
        return metric_of(name, run.protocol, device=given.device, **given.options)
    try:
        return _MINI_METRICS[name](**given.options)
    except TypeError as error:
        raise EvaluationError(f"The metric {name!r} has no such option: {error}.") from error


def _report(given: argparse.Namespace) -> None:
    run = Run.open(given.run)
    rows = Rows.of(rows_of(run), columns_of(run))
    if not len(rows):
        raise EvaluationError(f"{given.run!r} has no pictures yet: `hdpainter-nb evaluate` first.")
    if not rows.columns:
        raise EvaluationError(f"{given.run!r} has no scores yet: `hdpainter-nb score` first.")
    triplets = _triplets_of(run)
    base, ours = given.base or rows.names[0], given.ours or rows.names[-1]
    for option, name in (("--base", base), ("--ours", ours)):
        if name not in rows.names:
            raise EvaluationError(
                f"{option} {name!r} is no system of this run with pictures: "
                f"{', '.join(rows.names)}."
            )
    protocol = run.protocol
    preferred = (
        Preferred(ours=ours, kind=protocol.preference)
        if "pickscore" in rows.columns and len(rows.names) > 1
        else None
    )
    print(systems_table(rows, preferred=preferred).to_markdown())
    if len(rows.names) > 1:
        print(ablation_table(rows, base).to_markdown())
    if given.csv:
        rows.to_csv(given.csv)
    if given.parquet:
        rows.to_parquet(given.parquet)
    if given.explain:
        _explain(run, rows, (ours, base), given)
    path = write_report(
        given.out or run.folder / "report.html",
        rows,
        facts={k: v for k, v in run.facts.items() if k not in ("format", "triplets")},
        exhibits=Exhibits(
            pictures=run.picture,
            triplets=lambda id: framed_triplet(triplets, id, protocol),
            traces=run.traces(),
        ),
        plan=ReportPlan(title=f"Evaluation of {run.folder.name}", base=base, preferred=preferred),
    )
    print(f"Written: {path}")


def _explain(run: Run, rows: Rows, pair: tuple[str, str], given: argparse.Namespace) -> None:
    """Keep the traces of the clearest wins and losses in the first column that is a share."""
    column = next((n for n, c in rows.columns.items() if c.binary), next(iter(rows.columns)))
    if pair[0] == pair[1]:
        raise EvaluationError("--explain needs two systems whose wins and losses it can tell.")
    paired = rows.paired(*pair, column)
    order = sorted(range(len(paired.ids)), key=lambda place: paired.differences[place])
    chosen = sorted({*order[: given.explain], *order[::-1][: given.explain]})
    triplets, options = _triplets_of(run), _load_options(given)
    for name in pair:  # one after the other, so that each model is loaded once
        system = system_of_run(run, name, load_options=options)
        if system is None:
            continue  # pictures made elsewhere have no trace
        if system.fingerprint() != run.facts["systems"][name].get("fingerprint"):
            raise EvaluationError(
                f"{name!r} was painted with other weights than {system.model!r} has now, or in "
                "another kind of numbers: give --device and --dtype as to `hdpainter-nb evaluate`."
            )
        for place in chosen:
            explain(run, system, triplets, paired.ids[place], seed=int(paired.seeds[place]))


# --- what a user writes --------------------------------------------------------------------------


def _triplets(source: Mapping[str, Any]) -> TripletSet:
    return triplets_of(source, more=MINI_SETS)


def _triplets_of(run: Run) -> TripletSet:
    source = run.facts["triplets"].get("source")
    if not source:
        raise EvaluationError(
            f"{str(run.folder)!r} does not say where its triplets are, since it was begun from "
            "Python without a source: score and report it from there."
        )
    return _triplets(source if isinstance(source, Mapping) else {"kind": source})


def _load_options(given: argparse.Namespace) -> dict[str, str]:
    return {name: getattr(given, name) for name in ("device", "dtype") if getattr(given, name)}


def _system(
    text: str,
    protocol: EvaluationProtocol,
    overrides: Mapping[str, Any],
    given: argparse.Namespace,
) -> System:
    system = system_of(
        text,
        protocol,
        at_once=given.batch,
        overrides=overrides,
        load_options=_load_options(given),
    )
    if overrides and not isinstance(system, SamplerSystem | GlideSystem):
        raise EvaluationError(
            f"--set {next(iter(overrides))} is a setting of our samplers, which {text!r} does not "
            "run through: add that system by a call of its own."
        )
    if type(system) is SamplerSystem and given.triplets in MINI_SETS:
        return WatchedSystem(**system.__dict__)
    return system


def _switches(texts: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was `--set`: switches of the protocol, and settings of the systems beside them."""
    switches: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    known = [field.name for field in dataclasses.fields(EvaluationProtocol)]
    of_systems = [field.name for field in dataclasses.fields(Settings)]
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise EvaluationError(f"--set {text!r} is no SWITCH=VALUE, such as eta=0.1.")
        if name not in (*known, *of_systems):
            near = difflib.get_close_matches(name, (*known, *of_systems), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise EvaluationError(
                f"There is no switch {name!r} of a protocol, nor a setting of that name: {hint}"
            )
        try:
            read = json.loads(value)
        except ValueError:
            read = value  # a word
        (switches if name in known else settings)[name] = read
    return switches, settings


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, not {text!r}")
    return int(text)


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        example = '{"crop": "whole"}'
        raise argparse.ArgumentTypeError(
            f"must be an object of JSON, such as '{example}', not {text!r}"
        )
    return options


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
