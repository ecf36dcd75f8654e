"""What the benchmarks write: tables in Markdown, each script its own sections of RESULTS.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in Markdown; numbers flush right."""
    aligned = [
        "---:" if all(re.fullmatch(r"[\d.,×%-]*", str(row[i])) for row in rows) else "---"
        for i in range(len(columns))
    ]
    lines = [columns, aligned, *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_section(heading: str, body: str, path: Path = RESULTS) -> None:
    """Put `body` under `## heading`: in the place of what stood there, or at the end."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Measured\n"
    section = f"## {heading}\n\n{body.strip()}\n"
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        text = f"{text.rstrip()}\n\n{section}"
    else:
        rest = text[found.end() :]
        text = text[: found.start()] + section + (f"\n{rest}" if rest else "")
    path.write_text(text, encoding="utf-8")
    print(f"## {heading}\n\n{body.strip()}\n\n(written to {path.name})\n")


def circumstances(device: str = "cpu") -> str:
    """Date, device and versions, as the first line of a section."""
    import diffusers
    import torch

    if device == "cuda":
        machine = torch.cuda.get_device_name()
        machine += f", CUDA {torch.version.cuda}"
    else:
        threads = torch.get_num_threads()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        machine = f"{_processor()}, {threads} thread{'s' * (threads > 1)}, load {load:.1f}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, torch {torch.__version__}, "
        f"diffusers {diffusers.__version__}, Python {platform.python_version()}."
    )


def _processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
