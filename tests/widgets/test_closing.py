"""What is closed is gone: no widget stays open, and nothing stays in memory."""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import hdpainter_widgets
from hdpainter_nb import Sampler
from hdpainter_nb.errors import ImageError
from hdpainter_nb.job import Job
from hdpainter_nb.models.model import Model
from hdpainter_widgets import Lens, MaskPainter, Player, Runner, Studio, SyncRunner, Timeline
from hdpainter_widgets.composite import CompositeRoot, CompositeWidget
from hdpainter_widgets.runner.base import BaseRunner
from support.open_widgets import open_widgets
from support.page_side import hear, mimebundle

pytestmark = pytest.mark.colab
PICTURE = np.full((64, 64, 3), 90, np.uint8)
HOLE = np.zeros((64, 64), bool)
HOLE[16:48, 16:48] = True
WORDS = {"positive_suffix": "", "negative_prompt": ""}


def widget_classes() -> list[type]:
    """Every widget of the package that can be made, those with a face in the browser included."""
    found: set[type] = set()
    for module in pkgutil.walk_packages(hdpainter_widgets.__path__, "hdpainter_widgets."):
        found |= {
            value
            for value in vars(importlib.import_module(module.name)).values()
            if isinstance(value, type)
            and issubclass(value, ipywidgets.Widget)
            and value.__module__.startswith("hdpainter_widgets")
        }
    made = [
        one for one in found if not issubclass(one, anywidget.AnyWidget) or hasattr(one, "_esm")
    ]
    return sorted(made, key=lambda one: one.__name__)


CLASSES = widget_classes()


@pytest.fixture
def sampler(model: Model, job: Job) -> Sampler:
    sampler = Sampler(model, job.replace(rasg=False, steps=2))
    sampler.step()
    return sampler


def arguments(cls: type, runner: BaseRunner, model: Model) -> dict[str, Any]:
    """What a class must be given, by the parameters' names; a runner wherever one is taken."""
    given = {
        "a": runner.sampler,
        "children": (),
        "image": PICTURE,
        "keys": (("U", "upscale", "upscale"),),
        "model": model,
        "pictures": {"one": PICTURE, "two": PICTURE},
        "pressed": print,
        "runner": runner,
        "sampler": runner.sampler,
        "source": runner.sampler,
    }
    parameters = inspect.signature(cls).parameters.values()
    wanted = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    runs = "runner" in inspect.signature(cls).parameters and cls is not Studio
    return {name: given[name] for name in (*wanted, *(("runner",) if runs else ()))}


def used(widget: Any) -> None:
    """As a notebook would: shown, asked for what it shows, closed."""
    mimebundle(widget)
    hear(widget, {"type": "want", "revision": 0})
    widget.close()


def test_all_that_is_exported_is_closed_here() -> None:
    exported = {getattr(hdpainter_widgets, name) for name in hdpainter_widgets.__all__}
    classes = {one for one in exported if isinstance(one, type)}
    assert classes - set(CLASSES) == {Runner, SyncRunner}


def test_every_box_of_widgets_keeps_its_keys_from_the_notebook() -> None:
    boxes = {cls for cls in CLASSES if issubclass(cls, ipywidgets.Box)}
    assert {Player, Studio} < boxes
    assert all(issubclass(cls, CompositeWidget) for cls in boxes)
    player_like = CompositeWidget([ipywidgets.Label("one")])
    assert isinstance(player_like.children[-1], CompositeRoot)
    player_like.close()


@pytest.mark.parametrize("cls", CLASSES)
def test_nothing_is_alive_after_close(
    cls: type, sampler: Sampler, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    before = open_widgets()
    runner = SyncRunner(sampler)
    alive = []
    for _ in range(3):
        widget = cls(**arguments(cls, runner, model))
        alive.append(weakref.ref(widget))
        used(widget)
        assert not open_widgets().keys() - before.keys()
        del widget
    gc.collect()
    assert [one() for one in alive] == [None] * 3


@pytest.mark.parametrize("cls", CLASSES)
def test_it_may_be_closed_twice(
    cls: type, sampler: Sampler, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    widget = cls(**arguments(cls, SyncRunner(sampler), model))
    widget.close()
    widget.close()


@pytest.mark.parametrize("kind", [Runner, SyncRunner])
def test_a_closed_runner_lets_go_of_its_sampler_and_trace(
    kind: type[BaseRunner], model: Model, job: Job
) -> None:
    sampler = Sampler(model, job.replace(rasg=False, steps=2))
    runner = kind(sampler)
    runner.run()
    assert runner.wait(60)
    assert runner.do(lambda s: s.image(), key="result").result() is not None
    alive = [weakref.ref(one) for one in (runner, sampler, sampler.trace)]
    runner.close()
    del runner, sampler
    gc.collect()
    assert [one() for one in alive] == [None] * 3


def test_an_open_runner_holds_no_widget_that_was_closed(sampler: Sampler) -> None:
    with Runner(sampler) as runner:
        widgets = [Timeline(runner), Player(sampler, runner=runner)]
        runner.step()
        assert runner.wait(60)
        alive = [weakref.ref(widget) for widget in widgets]
        for widget in widgets:
            widget.close()
        del widget, widgets
        gc.collect()
        assert [one() for one in alive] == [None] * 2
        assert runner.after_step is None


# --- the studio ----------------------------------------------------------------------------------


def worked_with(model: Model, **options: Any) -> list[weakref.ref[Any]]:
    """A studio that ran, was asked for more, and was closed: what must be gone afterwards."""
    options = {"steps": 1, "rasg": False, **WORDS, **options}
    studio = Studio(model, PICTURE, HOLE, **options)
    studio.play()
    studio.inputs.prompt.value = "a blue circle"
    studio.play()  # another run
    studio.upscale(steps=1)
    studio.viewers.beside.value = studio.viewers.beside.options[-1]
    assert len(studio.runs) == 2
    used(studio)
    made = (studio, studio.painter, studio.runner, studio.enlarging, studio.sampler, *studio.runs)
    return [weakref.ref(one) for one in made]


def test_a_studio_closes_all_that_it_made(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    before = open_widgets()
    alive = worked_with(model)
    left = [type(widget).__name__ for id_, widget in open_widgets().items() if id_ not in before]
    assert not left
    gc.collect()
    assert not [one() for one in alive if one() is not None]


def test_a_studio_with_threads_too(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDPAINTER_SYNC", raising=False)
    before = open_widgets()
    studio = Studio(model, PICTURE, HOLE, steps=1, rasg=False, **WORDS)
    studio.play()
    assert studio.wait(60)
    alive = [weakref.ref(one) for one in (studio, studio.runner, studio.sampler, studio.trace)]
    studio.close()
    del studio
    gc.collect()
    assert not [one() for one in alive if one() is not None]
    assert not open_widgets().keys() - before.keys()


@pytest.mark.slow
def test_of_a_hundred_studios_nothing_is_left(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    worked_with(model)
    gc.collect()
    before, objects = open_widgets(), len(gc.get_objects())
    alive = [one for _ in range(100) for one in worked_with(model)]
    gc.collect()
    assert not [one() for one in alive if one() is not None]
    assert not open_widgets().keys() - before.keys()
    del alive
    assert len(gc.get_objects()) - objects < 1000  # of 4 million that a hundred of them hold


def test_a_studio_that_cannot_be_made_leaves_nothing_open(
    model: Model, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    before = open_widgets()
    with pytest.raises(ImageError):
        Studio(model, "there is no such picture.png")
    with pytest.raises(TypeError):
        Studio(model, PICTURE, runner=SyncRunner(sampler))
    assert not open_widgets().keys() - before.keys()


# --- a layout of one's own -----------------------------------------------------------------------


def test_a_layout_that_a_person_made_stays_open() -> None:
    shared = ipywidgets.Layout(width="50%")
    one, other = MaskPainter(PICTURE), MaskPainter(PICTURE)
    one.layout = other.layout = shared
    one.close()
    assert shared.comm is not None
    other.close()
    shared.close()


# --- cells that are run again --------------------------------------------------------------------


class Shell(InteractiveShell):
    """IPython as a kernel runs it: it knows which cell is running."""

    header: dict[str, Any]

    def get_parent(self) -> dict[str, Any]:
        return self.header


@pytest.fixture
def run_cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """A function that runs a cell, given its id and its text."""
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = Shell.instance(config=config)
    runs = 0

    def run(cell: str, text: str) -> Any:
        nonlocal runs
        runs += 1
        shell.header = {"metadata": {"cellId": cell}, "header": {"msg_id": f"run {runs}"}}
        shell.run_cell(text, store_history=True).raise_error()
        return shell.user_ns

    yield run
    shell.reset()
    Shell.clear_instance()


MADE = {
    "painter": "made = MaskPainter(picture)",
    "lens": "made = Lens({'a': picture})",
    "chooser": "made = SceneChooser({'a': picture})",
    "player": "made = Player(sampler)",
    "heatmaps": "made = HeatmapViewer(sampler)",
    "timeline": "made = Timeline(SyncRunner(sampler))",
}


@pytest.mark.parametrize("name", MADE)
def test_a_cell_that_is_run_fifty_times_grows_nothing(
    name: str,
    sampler: Sampler,
    run_cell: Callable[[str, str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    names = run_cell("first", "from hdpainter_widgets import *")
    names |= {"picture": PICTURE, "sampler": sampler}
    alive, counts = [], []
    for _ in range(50 if name == "painter" else 5):
        run_cell("second", f"{MADE[name]}\nmade")
        alive.append(weakref.ref(names["made"]))
        counts.append(len(open_widgets()))
    gc.collect()
    assert [one() for one in alive[:-1]] == [None] * (len(alive) - 1)
    assert alive[-1]() is names["made"]
    assert len(set(counts)) == 1
    names["made"].close()


def test_other_cells_and_what_a_person_named_stay(run_cell: Callable[[str, str], Any]) -> None:
    names = run_cell("first", "from hdpainter_widgets import MaskPainter, Lens")
    names["picture"] = PICTURE
    run_cell("second", "lens = Lens({'a': picture})\nlens")
    lens = names["lens"]
    run_cell("third", "kept = MaskPainter(picture)\nkept")
    kept = names["kept"]
    run_cell("third", "painter = MaskPainter(picture)\npainter")
    assert names["kept"] is kept
    assert kept.comm is None
    assert kept.mask.shape == (64, 64)
    assert lens.comm is not None
    assert lens in names["_oh"].values()
    for widget in (lens, names["painter"]):
        widget.close()


def test_a_studio_s_parts_are_not_those_of_the_cell_that_opened_them(
    model: Model, run_cell: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    names = run_cell("first", "from hdpainter_widgets import Studio, Lens")
    names |= {"model": model, "picture": PICTURE, "hole": HOLE, "words": WORDS}
    run_cell("second", "studio = Studio(model, picture, hole, steps=1, rasg=False, **words)")
    run_cell("second", "studio = Studio(model, picture, hole, steps=1, rasg=False, **words)")
    for _ in range(2):
        run_cell("third", "studio.upscale(); Lens({'a': picture})")
    studio = names["studio"]
    assert isinstance(studio.enlarging.lens, Lens)
    assert studio.enlarging.lens.comm is not None
    assert studio.painter.comm is not None
    studio.close()
