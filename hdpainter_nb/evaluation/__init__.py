"""Systems measured against each other on the same triplets: the paper's Tables 1 and 2.

- `triplet`, `triplets`: pictures with a hole and a prompt; the sets of them
- `protocol`: the switches of a measurement; `system`, `systems`, `best_of`, `glide_system`: what
  paints the holes
- `run`, `painting`, `engines`, `cost`: a folder that outlives its processes, who fills it, for what
- `metrics`, `scoring`, `column`: what is measured of a picture, and how it is shown
- `rows`, `statistics`: the numbers of single pictures, and what they prove
- `tables`, `result_table`, `charts`, `gallery`, `report`: Markdown, LaTeX, data frame, HTML
- `explaining`: from a result back to its maps; `catalogue`, `metric_catalogue`: all their names
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdpainter_nb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from hdpainter_nb.evaluation.best_of import BestOfSeeds, rank_batch, ranked
    from hdpainter_nb.evaluation.catalogue import (
        SYSTEMS,
        system_of,
        system_of_run,
        triplets_of,
        triplets_source,
    )
    from hdpainter_nb.evaluation.column import Column
    from hdpainter_nb.evaluation.cost import cost_of
    from hdpainter_nb.evaluation.engines.local import LocalEngine
    from hdpainter_nb.evaluation.engines.ray import RayEngine
    from hdpainter_nb.evaluation.engines.slurm import SlurmEngine
    from hdpainter_nb.evaluation.explaining import explain
    from hdpainter_nb.evaluation.gallery import Exhibits
    from hdpainter_nb.evaluation.glide_system import GlideSystem
    from hdpainter_nb.evaluation.metric_catalogue import default_metrics, metric_of
    from hdpainter_nb.evaluation.metrics.accuracy import ClassAccuracy
    from hdpainter_nb.evaluation.metrics.aesthetic import AestheticScore
    from hdpainter_nb.evaluation.metrics.clip_score import ClipScore
    from hdpainter_nb.evaluation.metrics.detectors import TransformersDetector
    from hdpainter_nb.evaluation.metrics.external import ExternalMetric
    from hdpainter_nb.evaluation.metrics.pickscore import PickScore
    from hdpainter_nb.evaluation.metrics.preservation import Preservation
    from hdpainter_nb.evaluation.metrics.rtmdet import RTMDet
    from hdpainter_nb.evaluation.painting import Shard, paint_all
    from hdpainter_nb.evaluation.protocol import PROTOCOLS, EvaluationProtocol
    from hdpainter_nb.evaluation.report import ReportPlan, write_report
    from hdpainter_nb.evaluation.rows import Rows
    from hdpainter_nb.evaluation.run import Run
    from hdpainter_nb.evaluation.scoring import columns_of, rows_of, score_all
    from hdpainter_nb.evaluation.systems import ResultsFolder, SamplerSystem
    from hdpainter_nb.evaluation.tables import Preferred, ablation_table, systems_table
    from hdpainter_nb.evaluation.triplets.coco import CocoTriplets
    from hdpainter_nb.evaluation.triplets.folder import FolderTriplets
    from hdpainter_nb.evaluation.triplets.sample import Sample

# Where each public name lives; imported when first asked for, so that a table loads no torch.
_HOMES = {
    "PROTOCOLS": "protocol",
    "SYSTEMS": "catalogue",
    "AestheticScore": "metrics.aesthetic",
    "BestOfSeeds": "best_of",
    "ClassAccuracy": "metrics.accuracy",
    "ClipScore": "metrics.clip_score",
    "CocoTriplets": "triplets.coco",
    "Column": "column",
    "EvaluationProtocol": "protocol",
    "Exhibits": "gallery",
    "ExternalMetric": "metrics.external",
    "FolderTriplets": "triplets.folder",
    "GlideSystem": "glide_system",
    "LocalEngine": "engines.local",
    "PickScore": "metrics.pickscore",
    "Preferred": "tables",
    "Preservation": "metrics.preservation",
    "RTMDet": "metrics.rtmdet",
    "RayEngine": "engines.ray",
    "ReportPlan": "report",
    "ResultsFolder": "systems",
    "Rows": "rows",
    "Run": "run",
    "Sample": "triplets.sample",
    "SamplerSystem": "systems",
    "Shard": "painting",
    "SlurmEngine": "engines.slurm",
    "TransformersDetector": "metrics.detectors",
    "ablation_table": "tables",
    "columns_of": "scoring",
    "cost_of": "cost",
    "default_metrics": "metric_catalogue",
    "explain": "explaining",
    "metric_of": "metric_catalogue",
    "paint_all": "painting",
    "rank_batch": "best_of",
    "ranked": "best_of",
    "rows_of": "scoring",
    "score_all": "scoring",
    "system_of": "catalogue",
    "system_of_run": "catalogue",
    "systems_table": "tables",
    "triplets_of": "catalogue",
    "triplets_source": "catalogue",
    "write_report": "report",
}

__all__ = [
    "PROTOCOLS",
    "SYSTEMS",
    "AestheticScore",
    "BestOfSeeds",
    "ClassAccuracy",
    "ClipScore",
    "CocoTriplets",
    "Column",
    "EvaluationProtocol",
    "Exhibits",
    "ExternalMetric",
    "FolderTriplets",
    "GlideSystem",
    "LocalEngine",
    "PickScore",
    "Preferred",
    "Preservation",
    "RTMDet",
    "RayEngine",
    "ReportPlan",
    "ResultsFolder",
    "Rows",
    "Run",
    "Sample",
    "SamplerSystem",
    "Shard",
    "SlurmEngine",
    "TransformersDetector",
    "ablation_table",
    "columns_of",
    "cost_of",
    "default_metrics",
    "explain",
    "metric_of",
    "paint_all",
    "rank_batch",
    "ranked",
    "rows_of",
    "score_all",
    "system_of",
    "system_of_run",
    "systems_table",
    "triplets_of",
    "triplets_source",
    "write_report",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
