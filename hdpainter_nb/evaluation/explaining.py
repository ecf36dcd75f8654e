"""From a result back to the maps that explain it: the same run once more, with its trace kept."""

from __future__ import annotations

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.glide_system import GlideSystem
from hdpainter_nb.evaluation.painting import framed_triplet
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.systems import SamplerSystem
from hdpainter_nb.evaluation.triplet import TripletSet
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.utils.checked import checked

__all__ = ["explain"]


@checked
def explain(
    run: Run,
    system: SamplerSystem | GlideSystem,
    triplets: TripletSet,
    id: str,
    *,
    seed: int | None = None,
    capture: Capture | None = None,
) -> Trace:
    """Sample one item of a run again with everything watched, and keep its trace and its page.

    They lie in the run as ``traces/<system>/seed-<seed>/<id>.hdp`` and ``.html``, and the report
    leads there. The picture is that of the run but for the last bits, in which a call of several
    triplets may round otherwise.

    Args:
        run: of the item.
        system: by which it was painted. Of GLIDE it is the base model that is sampled again.
        triplets: of the run.
        id: of the triplet.
        seed: one of the protocol's; the first by default.
        capture: what to keep; `Capture.standard` by default.

    Raises:
        EvaluationError: the run has no such system or triplet.
    """
    if system.name not in run.systems or id not in run.ids:
        raise EvaluationError(f"This run has no {system.name!r} of triplet {id!r}.")
    chosen = run.protocol.seeds[0] if seed is None else seed
    sampler = system.sampler(framed_triplet(triplets, id, run.protocol), chosen, capture)
    sampler.run()
    sampler.image()  # decoded, so that the page shows it
    page = run.trace_path(system.name, chosen, id)
    page.parent.mkdir(parents=True, exist_ok=True)
    sampler.trace.save(page.with_suffix(".hdp"))
    sampler.trace.to_html(page)
    return sampler.trace
