"""Pin every package that an environment holds, by the version that was tested.

    python .ci/pin.py head constraints-lowest.txt > direct.txt
    .venv-pins/bin/python .ci/pin.py rest constraints-dev.txt

A constraints file has two parts: what is chosen by hand, and below a mark the rest of the set,
which nobody chooses. The first form prints the upper part, to install by; the second, run by the
interpreter of the environment that came of it, writes the lower part anew. `make pins` does both.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

MARK = "# --- the rest of the set, written by `make pins` ---"
# torch stands in constraints.txt, and what it needs of a GPU's libraries it pins itself; pip is
# the environment's own.
LEFT_OUT = re.compile(r"(hdpainter-nb|torch|triton|pip)|(nvidia|cuda)-.*")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def head(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition(MARK)[0]


def pinned(path: Path) -> set[str]:
    """The packages of a file's upper part, and of the files that it includes."""
    names: set[str] = set()
    for line in head(path).splitlines():
        if line.startswith("-c "):
            names |= pinned(path.with_name(line[3:].strip()))
        elif line and not line.startswith("#"):
            names.add(normal(line.partition("==")[0]))
    return names


def rest(path: Path) -> None:
    chosen = pinned(path)
    installed = {normal(dist.metadata["Name"]): dist.version for dist in distributions()}
    lines = [
        f"{name}=={version.partition('+')[0]}\n"
        for name, version in sorted(installed.items())
        if name not in chosen and not LEFT_OUT.fullmatch(name)
    ]
    path.write_text(head(path) + MARK + "\n" + "".join(lines), encoding="utf-8")
    print(f"{path}: {len(chosen)} chosen by hand, {len(lines)} more")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["head", file]:
            print(head(Path(file)), end="")
        case ["rest", file]:
            rest(Path(file))
        case _:
            sys.exit(__doc__)
