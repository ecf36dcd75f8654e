"""Metrics that another interpreter computes, since their packages do not get on with ours."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from PIL import Image

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.weights import Weighted, contents
from hdpainter_nb.utils.check import between, one_of
from hdpainter_nb.utils.checked import checked

__all__ = ["SHIPPED", "ExternalMetric"]

SHIPPED: Mapping[str, tuple[Column, str, str]] = MappingProxyType(
    {
        "image_reward": (Column("ImageReward"), "ImageReward", "image-reward"),
        "hpsv2": (Column("HPS v2.1", digits=4), "hpsv2", "hpsv2"),
        "lpips": (Column("LPIPS", better="lower", digits=4), "lpips", "lpips"),
    }
)
"""Metrics that need no script: column, and module and package that the other environment needs."""
_WORKER = Path(__file__).with_name("external_worker.py")


@checked
@dataclass(frozen=True, kw_only=True)
class ExternalMetric(Weighted):
    """Scores pictures in another Python, which is started once and kept for further calls.

    The other process gets a line for each picture, a JSON object with ``id``, ``picture``,
    ``reference``, ``mask`` (paths of PNG files; the mask is white in the hole) and ``prompt``, and
    answers each with a line like ``{"id": "7", "mine": 0.31}``, in any order, as soon as it can. It
    must not wait for the end of its input; whatever else it prints belongs on standard error.

    >>> ExternalMetric(name="image_reward", python="~/venvs/reward/bin/python")
    >>> ExternalMetric(name="mine", python="python3", script="mine.py")

    Attributes:
        name: one of `SHIPPED`, or any with a script.
        python: the other interpreter.
        script: a file for it; empty for the shipped metrics.
        answers: names of the numbers in each answer; each begins with the metric's name. Empty:
            that name alone.
        arguments: for the script.
        device: for the shipped metrics; empty takes CUDA if it is there.
        timeout: seconds in which the next answer must come; the first one's weights are loaded
            meanwhile.
        better: ``higher`` or ``lower``; of a script's numbers.

    Raises:
        SettingsError: an option is impossible.
    """

    name: str
    python: str
    script: str = ""
    answers: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    device: str = ""
    timeout: float = 600.0
    better: str = "higher"

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", tuple(self.answers) or (self.name,))
        object.__setattr__(self, "arguments", tuple(self.arguments))
        between("timeout", self.timeout, 0.01, 86400)
        one_of("better", self.better, ("higher", "lower", ""))
        if not self.script:
            one_of("name (of a metric without a script)", self.name, SHIPPED)
        for answer in self.answers:
            if not answer.startswith(self.name):
                raise SettingsError(
                    f"The answer {answer!r} must begin with the metric's name, {self.name!r}."
                )

    @property
    def columns(self) -> Mapping[str, Column]:
        """What it measures of each picture."""
        if not self.script:
            return {self.name: SHIPPED[self.name][0]}
        return {answer: Column(answer, better=self.better, digits=4) for answer in self.answers}

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its numbers."""
        return {
            "script": self.script or "shipped",
            "arguments": list(self.arguments),
            "answers": list(self.answers),
            **contents(self.script, *self.arguments, folders=False),
        }

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The numbers of each picture.

        Raises:
            EvaluationError: the interpreter, script or package is missing; it ended, went silent,
                or answered something else. The numbers of earlier calls are not touched by it, and
                the next call starts the process anew.
        """
        if not paintings:
            return []
        with tempfile.TemporaryDirectory(prefix="hdpainter-") as folder:
            lines = [
                {"id": str(place), **_written(painting, Path(folder), place)}
                for place, painting in enumerate(paintings)
            ]
            process = self._started()
            try:
                process.send(lines)
                found = self._collected(process, len(lines))
            except BaseException:  # an interrupt too: late answers would be taken for the next
                process.end()
                raise
        return [found[str(place)] for place in range(len(lines))]

    def _collected(self, process: _Process, count: int) -> dict[str, dict[str, float]]:
        wanted = {str(place) for place in range(count)}
        found: dict[str, dict[str, float]] = {}
        while len(found) < count:
            try:
                line = process.line(self.timeout)
            except TimeoutError:
                raise EvaluationError(self._silent(process, len(found), count)) from None
            if line is None:
                raise EvaluationError(self._ended(process, len(found), count))
            answer = _parsed(line)
            if isinstance(answer, dict) and "missing" in answer and "id" not in answer:
                raise EvaluationError(self._missing(str(answer["missing"])))
            id = str(answer.get("id")) if isinstance(answer, dict) else ""
            if not isinstance(answer, dict) or id not in wanted:
                raise EvaluationError(
                    f"The metric {self.name!r} answered {line.strip()[:120]!r}, which is no JSON "
                    f"object with the id of a picture that was sent."
                )
            found[id] = {name: self._number(answer, name) for name in self.answers}
        return found

    def _number(self, answer: Mapping[str, Any], name: str) -> float:
        value = answer.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise EvaluationError(
                f"The metric {self.name!r} answered {name}={value!r}, which is no number."
            )
        if name not in answer:
            others = ", ".join(key for key in answer if key != "id") or "nothing"
            raise EvaluationError(
                f"The metric {self.name!r} gave no {name!r} for a picture, but {others}: name its "
                "numbers by answers=."
            )
        return math.nan if value is None else float(value)

    def _missing(self, package: str) -> str:
        missing = (
            f"The metric {self.name!r} needs the module {package!r}, which {self.python!r} lacks"
        )
        if self.name in SHIPPED and package == SHIPPED[self.name][1]:
            return f"{missing}: {self.python} -m pip install {SHIPPED[self.name][2]}."
        return f"{missing}: install it there."  # a dependency; its package may be called otherwise

    def _silent(self, process: _Process, count: int, all: int) -> str:
        return (
            f"The metric {self.name!r} gave no answer for {self.timeout:g} s, after {count} of "
            f"{all} pictures{process.last_words()}: raise timeout=, or let it answer each line as "
            "it comes."
        )

    def _ended(self, process: _Process, count: int, all: int) -> str:
        code = process.ended()
        how = "closed its output" if code is None else f"ended (exit code {code})"
        return (
            f"The process of the metric {self.name!r} {how} after {count} of {all} "
            f"pictures{process.last_words()}."
        )

    def _started(self) -> _Process:
        running: list[_Process] = self._running
        if running and running[0].ended(0) is None:
            return running[0]
        for process in running:
            process.end()
        running[:] = [_Process(self._command())]
        return running[0]

    def _command(self) -> list[str]:
        python = str(Path(self.python).expanduser())
        if self.script:
            script = Path(self.script).expanduser()
            if not script.is_file():
                raise EvaluationError(
                    f"There is no script {self.script!r} for the metric {self.name!r}."
                )
            return [python, str(script.resolve()), *self.arguments]
        # As text, so that the folder of this file, whose modules have names that packages have
        # too, is no place that the other interpreter imports from.
        return [python, "-c", _WORKER.read_text("utf-8"), self.name, self.device]

    @cached_property
    def _running(self) -> list[_Process]:
        return []  # none or one; filled although the dataclass is frozen


def _written(painting: PaintedTriplet, folder: Path, place: int) -> dict[str, str]:
    """The pictures as files, and what is sent of a painting."""
    hole = painting.triplet.hole
    pictures = {
        "picture": Image.fromarray(painting.picture),
        "reference": Image.fromarray(painting.triplet.image),
        "mask": Image.fromarray(hole.astype("uint8") * 255),
    }
    paths = {}
    for name, picture in pictures.items():
        path = folder / f"{place}-{name}.png"
        picture.save(path, compress_level=1)
        paths[name] = str(path)
    return {**paths, "prompt": painting.triplet.triplet.prompt}


def _environment() -> dict[str, str]:
    """Without the way to our own packages, and such that no answer waits in a buffer."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return {**own, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


class _Process:
    """Another process that is told lines and answers in lines; it ends with this object."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                errors="replace",
                env=_environment(),
            )
        except OSError as error:
            self._errors.close()
            raise EvaluationError(
                f"The interpreter {command[0]!r} cannot be started ({error.strerror}): name "
                "another one by python=."
            ) from error
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(
            target=_read, args=(self._process.stdout, self._lines), daemon=True
        ).start()
        self._finalizer = weakref.finalize(self, _end, self._process, self._errors)

    def send(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Tell it some objects; from a thread, since it may not listen before it has answered."""
        text = "".join(json.dumps(item) + "\n" for item in items)
        threading.Thread(target=_write, args=(self._process.stdin, text), daemon=True).start()

    def line(self, timeout: float) -> str | None:
        """Its next line; None when there will be none.

        Raises:
            TimeoutError: it did not come in these seconds.
        """
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def ended(self, timeout: float = 2.0) -> int | None:
        """Its exit code; None if it still runs after some seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self._process.poll()

    def last_words(self) -> str:
        """The last line that it wrote to standard error, for the end of a message."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        said = next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
        return f" ({said})" if said else ""

    def end(self) -> None:
        """Stop it."""
        self._finalizer()


def _read(pipe: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with suppress(OSError, ValueError), pipe:
        for line in pipe:
            if line.strip():
                lines.put(line)
    lines.put(None)


def _write(pipe: IO[str], text: str) -> None:
    with suppress(OSError, ValueError):  # it has ended, which its answers' end says
        pipe.write(text)
        pipe.flush()


def _end(process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    process.terminate()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()
    with suppress(OSError):  # what was not yet read of it
        if process.stdin is not None:
            process.stdin.close()
