"""Where the bundled models and the sample pictures lie: in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_path"]

_HERE = Path(__file__).resolve().parent
_WHEEL = _HERE / "_data"  # where the wheel keeps data/mini, data/mini_x4 and data/samples
_CHECKOUT = _HERE.parent / "data"  # the same folders in a checkout or an editable install


def data_path(*parts: str) -> Path:
    """Return the path of something bundled, such as ``data_path("samples", "coffee.jpg")``.

    Args:
        parts: the names on the way down from the data folder; none gives that folder itself.

    Returns:
        An existing file or folder on disk. It belongs to the library: read it, do not write there.

    Raises:
        FileNotFoundError: nothing of that name is bundled, or this installation lacks its data.
    """
    root = _root()
    path = root.joinpath(*parts)
    if path.exists():
        return path
    nearest = next(folder for folder in path.parents if folder.is_dir())
    there = ", ".join(sorted(entry.name for entry in nearest.iterdir())) or "nothing"
    raise FileNotFoundError(
        f"{'/'.join(parts)!r} is not bundled with hdpainter-nb. {nearest} holds: {there}."
    )


def _root() -> Path:
    if _WHEEL.is_dir():
        return _WHEEL
    if (_CHECKOUT / "mini").is_dir() or (_CHECKOUT / "samples").is_dir():
        return _CHECKOUT
    raise FileNotFoundError(
        f"The data of hdpainter-nb (the bundled model and the samples) is neither in {_WHEEL} nor "
        f"in {_CHECKOUT}. Install the wheel again with `pip install --force-reinstall --no-deps "
        "hdpainter_nb-*.whl`, or work in a complete checkout with `pip install -e .`."
    )
