"""`Trace`: the steps of a run with all that a user may do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from hdpainter_nb.edits.wording import edit_said
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.trace.attention import Attention
from hdpainter_nb.trace.file import write_tree
from hdpainter_nb.trace.html import write_page
from hdpainter_nb.trace.ranking import WordRanking, screen
from hdpainter_nb.trace.reading import read_tree
from hdpainter_nb.trace.record import describe
from hdpainter_nb.trace.titles import branch_title
from hdpainter_nb.trace.tree import Tree
from hdpainter_nb.utils import html
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.nbytes import byte_count, readable_bytes
from hdpainter_nb.utils.wording import method_said

__all__ = ["Trace"]


@checked
class Trace(Tree):
    """Every step made for one picture, over all branches.

    ``len(trace)``, iteration and ``trace[i]`` speak of the first branch; ``trace.records(branch)``
    of any.
    """

    # --- asking ----------------------------------------------------------------------------------

    def ask(self, step: int = -1, branch: int | str = 0) -> Attention:
        """Attention of a step, from the queries and keys that were kept: see `Attention`.

        >>> trace.ask(step=3).row(100, 80, level=16, head=2)
        >>> trace.ask(step=3).word("star", layer="up_blocks.1")
        >>> trace.ask(step=3).words("a blue ring", model=model)["ring"]

        Args:
            step: its number, from 0; negative numbers count from the newest.
            branch: of this trace.

        Raises:
            SettingsError: no such step, or no queries and keys were kept of it.
        """
        records = self.records(branch)
        if not -len(records) <= step < len(records):
            count = len(records)
            raise SettingsError(f"There is no step {step}; there are {count}, counted from 0.")
        return Attention.of(records[step])

    def screen(self, word: str | int, branch: int | str = 0) -> WordRanking:
        """Score every map of a word that was kept, to find the layers and heads that carry it.

        >>> trace.screen("star").per("layer", "head").top(5)

        Args:
            word: a word of the prompt, or a token's position.
            branch: whose steps, from the root.

        Raises:
            KeyError: no such word or branch.
            SettingsError: no maps were kept.
        """
        return screen(self, word, branch)

    # --- showing itself --------------------------------------------------------------------------

    def __repr__(self) -> str:
        lengths = [f"{b.name}: {len(self.records(b.id))} steps" for b in self.branches.values()]
        return f"Trace({'; '.join([', '.join(lengths), *self._kept()]) if lengths else 'empty'})"

    def _kept(self) -> tuple[str, str]:
        """What was kept, and where."""
        nodes = tuple(self.nodes.values())
        records = [node.record for node in nodes if node.record is not None]
        disk = self.nbytes_on_disk
        held = f"{readable_bytes(self.nbytes - disk)} in memory"
        return describe(records), f"{held}, {readable_bytes(disk)} on disk" if disk else held

    def _repr_html_(self) -> str:
        edited = any(b.edits for b in self.branches.values())
        rows = [
            {
                "number": b.id,
                "branch": branch_title(self, b),
                "prompt": b.prompt,
                "method": method_said(b.settings.method),
                **({"edits": ", ".join(map(edit_said, b.edits))} if edited else {}),
                "steps": len(self.records(b.id)),
                "after step": self.nodes[b.start].index,
            }
            for b in self.branches.values()
        ]
        picture = self.picture() if self.branches else None
        last = self.records()[-1:] if self.branches else []
        if picture is None and last:
            picture = last[0].x0_preview
        shown = [] if picture is None else [html.picture(picture)]
        facts = html.table(dict(zip(("kept", "held"), self._kept(), strict=True))) if rows else ""
        return html.card(*shown, html.table(rows) + facts)

    # --- one file --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one file, by habit ``*.hdp``, one array at a time.

        An existing one is replaced at once, and only when the new one is complete.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        write_tree(self, path)
        return path

    @checked(leaves=["title"])  # which the page reads
    def to_html(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        other: Trace | None = None,
        maps: bool = True,
    ) -> Path:
        """Write one file of HTML to look through the run anywhere: no kernel, no network.

        An existing one is replaced at once, and only when the new one is complete.

        Args:
            path: by habit ``*.html``.
            title: of the page; None takes the prompt.
            other: a second trace to compare with.
            maps: with attention maps and previews; the file is much smaller without.

        Raises:
            OSError: the file cannot be written.
        """
        traces = [self] if other is None else [self, other]
        return write_page(path, traces, title=title, maps=maps)

    @classmethod
    def load(cls, path: str | Path, *, budget: int | str | None = "1 GB") -> Self:
        """Read a file written by `save`.

        Args:
            path: of the file.
            budget: what may lie in main memory. The rest stays in the file and is read when it is
                looked at: leave the file where it is. None: no limit.

        Raises:
            TraceError: no such file, truncated, not a trace, or made by a newer version.
        """
        trace = cls()
        trace.store.limit = byte_count(budget)
        read_tree(Path(path), trace)
        return trace
