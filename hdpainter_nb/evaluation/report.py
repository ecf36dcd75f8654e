"""An evaluation as one page of HTML that needs neither a kernel nor a network.

Tables, intervals, agreement, power, what the run was made with, and the pictures behind the
numbers. Its content security policy forbids any request, and any script but its own; without
scripts all of it is there and opens.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.charts import interval_chart
from hdpainter_nb.evaluation.gallery import Exhibits, write_gallery
from hdpainter_nb.evaluation.result_table import ResultTable
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import Bootstrap
from hdpainter_nb.evaluation.statistics.power import power_statement
from hdpainter_nb.evaluation.tables import (
    Preferred,
    ablation_table,
    agreement_table,
    groups_table,
    power_table,
    preference_table,
    seeds_table,
    switches_table,
    systems_table,
)
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import replacing

__all__ = ["ReportPlan", "write_report"]

_GROUPS = 12  # more have no room beside each other, and too few triplets each
_STATIC = Path(__file__).parents[1] / "static"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="hdp-skip" href="#tables">To the tables</a>
<div id="page">
<header><h1>{title}</h1><p>{summary}</p><nav aria-label="Sections">{links}</nav></header>
<main>
{sections}
</main>
</div>
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True, kw_only=True)
class ReportPlan:
    """What a report shows.

    Attributes:
        title: of the page.
        base: the system that others are compared with; None takes the first.
        ablations: systems of the paper's Table 2; None takes all but the base.
        pairs: systems whose wins and losses are shown; None: the last system against the base.
        preferred: shows PickScore as the paper does, and the preference against each system.
        variants: name of a protocol's switch -> rows under it, for the table of switches.
        system: whose numbers that table has; None takes the last.
        options: of the intervals.
    """

    title: str = "Evaluation"
    base: str | None = None
    ablations: Sequence[str] | None = None
    pairs: Sequence[tuple[str, str]] | None = None
    preferred: Preferred | None = None
    variants: Mapping[str, Rows] = field(default_factory=dict)
    system: str | None = None
    options: Bootstrap = field(default_factory=Bootstrap)


@checked(leaves=("facts",))  # they may hold any text
def write_report(
    path: str | Path,
    rows: Rows,
    *,
    facts: Mapping[str, Any],
    exhibits: Exhibits | None = None,
    plan: ReportPlan | None = None,
) -> Path:
    """Write what was measured to one file of HTML.

    An existing file is replaced at once, and only when the new one is complete.

    Args:
        path: by habit ``report.html`` in the run's folder.
        rows: a row for each picture.
        facts: what the run was made with, by heading: settings, protocol, fingerprints, versions.
        exhibits: where the gallery takes its pictures from; None leaves it out.
        plan: what to compare with what; None takes the defaults of `ReportPlan`.

    Raises:
        EvaluationError: there are no rows, or not those of a system that the plan names.
        OSError: the file cannot be written.
    """
    if not len(rows):
        raise EvaluationError("There is nothing to report: no picture has been scored yet.")
    plan = plan or ReportPlan()
    sections = _sections(rows, plan, facts, exhibits)
    script = _read("report.js")
    text = _PAGE.format(
        hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=html.escape(plan.title),
        style=_read("report.css"),
        summary=html.escape(_summary(rows, plan)),
        links=" ".join(
            f'<a href="#{name}">{html.escape(title)}</a>' for name, title, _ in sections
        ),
        sections="\n".join(
            f'<section id="{name}"><h2>{html.escape(title)}</h2>{content}</section>'
            for name, title, content in sections
        ),
        script=script,
    )
    with replacing(path) as part:
        part.write_bytes(text.encode(errors="replace"))
    return Path(path)


def _sections(
    rows: Rows, plan: ReportPlan, facts: Mapping[str, Any], exhibits: Exhibits | None
) -> list[tuple[str, str, str]]:
    """Name, title and content of each."""
    base = rows.names[0] if plan.base is None else plan.base
    others = [name for name in rows.names if name != base]
    pairs = list(plan.pairs) if plan.pairs is not None else [(n, base) for n in others[-1:]]
    systems = systems_table(rows, preferred=plan.preferred, options=plan.options)
    charts = "".join(interval_chart(systems, key) for key in systems.keys[1:-1])
    sections = [("tables", "Systems", f"{_charts(charts)}{_table(systems)}")]
    if others:
        ablation = ablation_table(rows, base, systems=plan.ablations, options=plan.options)
        charts = "".join(
            interval_chart(ablation, key, part="difference", zero=True)
            for key in ablation.keys[1:-1]
        )
        sections.append(
            ("differences", f"Differences to {base}", f"{_charts(charts)}{_table(ablation)}")
        )
    if plan.preferred and others:
        table = preference_table(
            rows, plan.preferred.ours, plan.preferred.column, options=plan.options
        )
        sections.append(("preference", "Preference", _table(table)))
    if pairs and exhibits:
        sections.append(("gallery", "Wins and losses", write_gallery(rows, pairs, exhibits)))
    shares = [name for name, column in rows.columns.items() if column.binary]
    if shares and 1 < len(set(rows.groups)) <= _GROUPS:
        tables = [groups_table(rows, name, options=plan.options) for name in shares]
        content = "".join(
            f"<details{' open' * (place == 0)}><summary>{html.escape(table.caption)}</summary>"
            f"{_table(table)}</details>"
            for place, table in enumerate(tables)
        )
        sections.append(("groups", "Groups", content))
    if plan.variants:
        system = plan.system or rows.names[-1]
        table = switches_table(plan.variants, system, options=plan.options)
        sections.append(("switches", "Switches of the protocol", _table(table)))
    agreements = [agreement_table(rows, first, second) for first, second in pairs]
    agreements = [table for table in agreements if len(table) > 1]
    if agreements:
        sections.append(("agreement", "Agreement of the metrics", "".join(map(_table, agreements))))
    if len(rows.seed_values) > 1:
        sections.append(("seeds", "Seeds", _table(seeds_table(rows))))
    power = "".join(_table(power_table(rows, first, second)) for first, second in pairs)
    words = html.escape(power_statement(len(rows.id_values)))
    sections.append(("power", "How many triplets it takes", f"<p>{words}</p>{power}"))
    sections.append(("facts", "How it was made", _facts(facts)))
    return sections


def _summary(rows: Rows, plan: ReportPlan) -> str:
    seeds = rows.seed_values
    way = {"bca": "BCa bootstrap", "percentile": "percentile bootstrap"}[plan.options.method]
    binary = any(column.binary for column in rows.columns.values())
    shares = ", of shares by Wilson" if binary and len(seeds) == 1 else ""
    return (
        f"{_counted(len(rows.names), 'system')}, {_counted(len(rows.id_values), 'triplet')}, "
        f"seed{'s' * (len(seeds) != 1)} {', '.join(map(str, seeds))}, "
        f"{_counted(len(rows), 'picture')}. Intervals of {plan.options.level:.0%}: {way} of "
        f"triplets, seed {plan.options.seed}{shares}."
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _charts(charts: str) -> str:
    return f'<div class="hdp-charts">{charts}</div>' if charts else ""


def _table(table: ResultTable) -> str:
    """A table that scrolls for itself, with its text for papers."""
    caption = html.escape(table.caption)
    sources = "".join(
        f"<details><summary>{name}</summary><pre tabindex='0'>{html.escape(text)}</pre></details>"
        for name, text in (("LaTeX", table.to_latex()), ("Markdown", table.to_markdown()))
    )
    return (
        f'<p class="hdp-caption">{caption}</p>'
        f'<div class="hdp-scroll" role="region" aria-label="{caption}" tabindex="0">'
        f"{table.to_html(captioned=False)}</div>"
        f'<div class="hdp-sources">{sources}</div>'
    )


def _facts(facts: Mapping[str, Any]) -> str:
    """Every heading with its facts, closed until asked for; what has none of its own together."""
    single = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}
    headed = {name: value for name, value in facts.items() if isinstance(value, Mapping)}
    parts = []
    for name, value in (*([("run", single)] if single else []), *headed.items()):
        several = len(value) > 1 and all(isinstance(v, Mapping) and v for v in value.values())
        content = _side_by_side(value) if several else _listed(value)
        parts.append(f"<details><summary>{html.escape(str(name))}</summary>{content}</details>")
    return "".join(parts) or '<p class="hdp-note">Nothing was noted.</p>'


def _listed(facts: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in _flat(facts)
    )
    return f'<dl class="hdp-facts">{lines}</dl>'


def _side_by_side(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """The facts of several of a kind, as of systems: what differs first, then what all share."""
    each = [dict(_flat(entry)) for entry in facts.values()]
    names = dict.fromkeys(name for entry in each for name in entry)
    differing, shared = [], {}
    for name in names:
        texts = [entry.get(name, "") for entry in each]
        if len(set(texts)) == 1:
            shared[name] = texts[0]
            continue
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        differing.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in facts)
    table = (
        '<div class="hdp-scroll" role="region" aria-label="What differs" tabindex="0">'
        f'<table class="hdp-apart"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(differing)}</tbody></table></div>"
    )
    alike = f'<p class="hdp-note">The same for all:</p>{_listed(shared)}' if shared else ""
    return table + alike


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Facts within facts, each with the names on the way to it."""
    for name, entry in value.items():
        way = f"{before}{name}"
        if isinstance(entry, Mapping) and entry:
            yield from _flat(entry, f"{way} › ")
        elif isinstance(entry, str):
            yield way, entry
        else:
            yield way, json.dumps(entry, ensure_ascii=False, default=str)


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
