"""What fuzz tests share: their settings, limits of time and memory, which errors are meant."""

from __future__ import annotations

import json
import linecache
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AMOUNT = float(os.environ.get("FUZZ", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
CAN_MEASURE = Path("/proc/self/clear_refs").exists()
"""Memory is measured as Linux counts it."""


class TooSlow(BaseException):
    """An input took longer than it may."""


@dataclass
class Outcome:
    """What came of an input."""

    result: Any = None
    error: BaseException | None = None
    where: str = ""
    """The end of the error's traceback."""
    seconds: float = 0.0
    megabytes: float = 0.0
    """Memory beside what the process had before."""


def watched(call: Callable[[], Any], seconds: float) -> Outcome:
    """Call something, with a limit of time, and see what memory it takes at most."""

    def late(*_: Any) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, late)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before, start, outcome = _peak(), time.perf_counter(), Outcome()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        outcome.result = call()
    except (Exception, TooSlow) as error:
        outcome.error = error
        outcome.where = traceback.format_exc()[-900:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    outcome.seconds = time.perf_counter() - start
    outcome.megabytes = _peak() - before
    return outcome


def is_a_sentence(text: str) -> bool:
    fine = text.endswith(".") and "\n" not in text and 20 < len(text) < 1000
    return fine and "MemoryError" not in text


def is_meant(error: BaseException, *, of_mine: bool = False) -> bool:
    """Whether the library raised an error by a statement of its own, and not from deep inside.

    Args:
        of_mine: an error about an argument counts only if the test itself passed it, not one part
            of the library to another.
    """
    frames = traceback.extract_tb(error.__traceback__)
    names = [f.filename for f in frames if f"{os.sep}hdpainter_nb{os.sep}" in f.filename]
    if not names or names[-1] != frames[-1].filename:
        return False
    if of_mine and names[-1].endswith("checked.py") and {*names} != {names[-1]}:
        return False
    return (
        linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip().startswith("raise")
    )


def in_a_process(script: str, count: int, folder: Path) -> dict[str, Any]:
    """Run a test's file as a script, in a process that may crash; gives what it wrote as JSON.

    The script gets the seed, the number of inputs and the file to write.
    """
    report = folder / "report.json"
    result = subprocess.run(
        [sys.executable, script, str(SEED), str(count), str(report)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120 + count * 3,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    outcomes: dict[str, Any] = json.loads(report.read_text())
    return outcomes


def _peak() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
