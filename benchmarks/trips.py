"""Which files a step, a preparation and a word's way to a heatmap enter, in their order.

    python benchmarks/trips.py [--tree FOLDER] [--path]

Every call from one file of the library to another is followed. A file that calls no other one is a
leaf: a formula, or a helper that is understood where it is called. "Rooms" are the files that are
not leaves, which a reader has to walk through; "doors" are the different ways from one file into
another, whatever the number of layers and steps. With ``--tree`` the library of another checkout is
followed, so that two of them can be compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parents[1]


Trip = list[tuple[str, str]]
"""Calls from one file into another, in their order."""


def followed(act: Callable[[], Any], roots: list[Path]) -> Trip:
    """The calls from file to file that `act` makes."""
    names: dict[str, str | None] = {}

    def name_of(frame: FrameType | None) -> str | None:
        while frame is not None:  # calls through other libraries, torch for one, count as calls
            file = frame.f_code.co_filename
            if file not in names:
                inside = [r for r in roots if Path(file).is_relative_to(r)]
                names[file] = str(Path(file).relative_to(inside[0].parent)) if inside else None
            if names[file] is not None:
                return names[file]
            frame = frame.f_back
        return None

    trip: Trip = []

    def follow(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (here := names.get(frame.f_code.co_filename, "")) is not None:
            here = here or name_of(frame)
            caller = name_of(frame.f_back)
            if here and caller and here != caller and names.get(frame.f_code.co_filename):
                trip.append((caller, here))

    sys.setprofile(follow)
    try:
        act()
    finally:
        sys.setprofile(None)
    return trip


def summary(trip: Trip) -> str:
    """Its files, rooms and doors, in numbers."""
    rooms = {caller for caller, _ in trip}
    files = rooms | {called for _, called in trip}
    return (
        f"{len(files)} files: {len(rooms)} rooms, {len(files - rooms)} leaves; "
        f"{len(set(trip))} doors"
    )


def main() -> None:
    """Follow the trips, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, default=HERE, help="root of a checkout")
    parser.add_argument("--path", action="store_true", help="the doors too, in their order")
    given = parser.parse_args()
    tree = given.tree.resolve()
    sys.path[:0] = [str(tree), str(tree / "widgets")]

    import numpy as np

    from hdpainter_nb import Capture, Job, Sampler, load

    model = load(str(tree / "data" / "mini"))
    picture = np.full((128, 128, 3), 128, np.uint8)
    hole = np.zeros((128, 128), bool)
    hole[32:96, 32:96] = True
    roots = [tree / "hdpainter_nb", tree / "widgets" / "hdpainter_widgets"]

    def step(sampler: Any) -> Callable[[], Any]:
        return sampler.step

    job = Job(picture, hole, "a red star", steps=4)
    Sampler(model, job).run()  # caches are warm
    sampler = Sampler(model, job, Capture.standard())
    trips = {
        "one step": step(sampler),
        "preparation": lambda: model.prepare(job),
    }
    rows = {name: followed(act, roots) for name, act in trips.items()}

    from hdpainter_widgets import HeatmapViewer

    def heatmap() -> None:
        viewer = HeatmapViewer(sampler)
        viewer.close()

    rows["a word to the browser"] = followed(heatmap, roots)
    with tempfile.TemporaryDirectory() as folder:
        rows["save"] = followed(lambda: sampler.trace.save(Path(folder) / "x.hdp"), roots)
    for name, trip in rows.items():
        print(f"{name}: {summary(trip)}")
        if given.path:
            print("".join(f"    {a} -> {b}\n" for a, b in dict.fromkeys(trip)), end="")


if __name__ == "__main__":
    main()
