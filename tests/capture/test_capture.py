"""What is kept of a run: chosen, counted beforehand, and held within its budget."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdpainter_nb import Capture, Job, Sampler, Trace
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture import transfer
from hdpainter_nb.capture.store import ArrayStore, is_mapped
from hdpainter_nb.capture.transfer import HostTransfer, PendingArray
from hdpainter_nb.errors import HDPainterWarning, SettingsError
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.cost import step_cost
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.file import pack_tree
from hdpainter_nb.utils.nbytes import byte_count

UP = "up_blocks.2"  # H/16 in the tiny UNet


def arrays_of(trace: Trace) -> dict[str, np.ndarray]:
    """Every array of the steps, without what was given (picture, mask)."""
    return {n: a for n, a in pack_tree(trace)[0].items() if n.startswith("node.")}


def in_memory(trace: Trace) -> int:
    """Bytes of the steps' arrays that are no map of a file."""
    return sum(a.nbytes for a in arrays_of(trace).values() if not is_mapped(a))


@pytest.fixture
def plain(job: Job) -> Job:
    return job.replace(rasg=False, steps=3)


# --- the budget ----------------------------------------------------------------------------------


def test_fifty_steps_stay_within_a_small_budget(model: Model, job: Job, tmp_path: Path) -> None:
    budget = 1_000_000
    long = job.replace(steps=50, guidance_scale=1.0)  # the conditional half alone
    capture = Capture.everything(budget=budget, folder=tmp_path)
    sampler = Sampler(model, long, capture)
    highest = 0
    for _ in sampler:
        highest = max(highest, sampler.trace.store.in_memory)
    trace = sampler.trace
    assert len(trace) >= 50
    assert trace.nbytes > 10 * budget
    assert highest <= budget
    assert in_memory(trace) <= budget
    assert trace.nbytes_on_disk >= trace.nbytes - budget - trace.image.nbytes - trace.mask.nbytes
    assert trace.store.on_disk == trace.nbytes_on_disk
    assert "on disk" in repr(trace)
    assert "MB in memory" in repr(trace) or "kB in memory" in repr(trace)
    # the states on the model's device are read from the trace too
    assert len(sampler._states) <= 2

    whole = Sampler(model, long, capture.replace(budget=None))
    whole.run(3)
    theirs = arrays_of(whole.trace)
    for name, array in arrays_of(trace).items():
        if name in theirs:
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert whole.trace.nbytes_on_disk == 0


def test_going_back_and_branching_over_steps_on_disk(model: Model, job: Job) -> None:
    runs = []
    for budget in (0, None):
        sampler = Sampler(model, job, Capture.standard(budget=budget))
        sampler.run()
        last = sampler.records[-1]
        sampler.restart()
        assert sampler.run() is last
        other = sampler.back(3).branch(painta=False)
        assert other.trace.store is sampler.trace.store
        runs.append((last.x0_latents, other.run().x0_latents, sampler.image()))
        assert (in_memory(sampler.trace) == 0) == (budget == 0)
    for on_disk, held in zip(*runs, strict=True):
        np.testing.assert_array_equal(on_disk, held)


def test_a_trace_on_disk_is_saved_and_loaded(model: Model, plain: Job, tmp_path: Path) -> None:
    sampler = Sampler(model, plain, Capture.everything(budget=0))
    sampler.run()
    file = sampler.trace.save(tmp_path / "run.hdp")
    ours, theirs = arrays_of(sampler.trace), arrays_of(Trace.load(file))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
    resumed = Sampler.from_trace(model, Trace.load(file, budget=0), capture=Capture(budget=0))
    resumed.back().branch(painta=False).run()
    assert in_memory(resumed.trace) == 0


def test_the_file_goes_when_the_trace_goes(model: Model, plain: Job, tmp_path: Path) -> None:
    sampler = Sampler(model, plain, Capture.standard(budget=0, folder=tmp_path))
    sampler.run(1)
    record = sampler.records[0]
    store = weakref.ref(sampler.trace.store)
    file = sampler.trace.store._file
    assert not file.closed
    del sampler
    gc.collect()
    assert store() is None
    assert file.closed
    assert list(tmp_path.iterdir()) == []  # it had no name, or has lost it
    assert np.isfinite(record.latents).all()  # what is still held can still be read


def test_a_full_disk_is_an_error_that_says_what_to_do(
    model: Model, plain: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hdpainter_nb.capture.store.write_all", full)
    sampler = Sampler(model, plain, Capture.standard(budget=10_000))
    with pytest.raises(OSError, match=r"Capture\(folder=\.\.\.\)") as raised:
        sampler.step()
    assert sampler.index == 0
    assert raised.value.errno == 28


def test_bytes_are_counted_while_arrays_live() -> None:
    store = ArrayStore(1000)
    first = store.add(np.ones(100, np.uint8))
    assert store.add(first) is first
    assert store.in_memory == 100
    second = store.add(np.ones(950, np.uint8))
    assert is_mapped(second)
    assert second.sum() == 950
    assert not is_mapped(first)
    del first
    assert store.in_memory == 0
    assert not is_mapped(store.add(np.ones(950, np.uint8)))
    assert store.on_disk == 950
    borrowed = np.ones(4)
    assert store.add(borrowed, copy=True) is not borrowed


@pytest.mark.parametrize(
    ("said", "bytes_"),
    [("512 MB", 512_000_000), ("1.5kb", 1500), ("2 GiB", 2**31), (7, 7), ("8", 8), (None, None)],
)
def test_budgets_are_read(said: Any, bytes_: int | None) -> None:
    assert byte_count(said) == Capture(budget=said).limit == bytes_


@pytest.mark.parametrize("wrong", ["much", "-1 MB", "1 PB", True, ""])
def test_other_budgets_are_refused(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="512 MB"):
        Capture(budget=wrong)


# --- off the device ------------------------------------------------------------------------------


class Copies:
    """Stands in for copies on a CUDA stream: they are there once somebody waits for them."""

    def __init__(self) -> None:
        self.waited: list[int] = []

    def __call__(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Any]:
        host, copies, number = torch.zeros(x.shape, dtype=dtype), self, int(x.flatten()[0])

        class Event:
            def synchronize(self) -> None:
                host.copy_(x)
                copies.waited.append(number)

        return host, Event()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    made = Copies()
    monkeypatch.setattr(transfer, "_copy_aside", made)
    monkeypatch.setattr(transfer, "_beside", lambda _: True)
    return made


def test_a_copy_is_waited_for_when_it_is_read(copies: Copies) -> None:
    from hdpainter_nb.trace.maps import LevelMaps

    host = HostTransfer()
    maps = LevelMaps({16: {"a": host.put(torch.full((2, 2), 1.0))}})
    both = [host.put(torch.full((2, 2), float(n))) for n in (2, 3)]
    assert all(isinstance(array, PendingArray) for array in both)
    assert list(maps) == [16]
    assert copies.waited == []
    np.testing.assert_array_equal(maps[16], np.ones((2, 2)))
    assert copies.waited == [1]
    assert maps.layers[16]["a"] is maps.layers[16]["a"]
    assert copies.waited == [1]
    assert host.store.in_memory == 16


def test_maps_of_one_shape_travel_together(copies: Copies) -> None:
    host = HostTransfer()
    arrays = host.put_rows(torch.stack([torch.full((2, 2), float(n)) for n in (5, 6, 7)]))
    assert [int(array.wait()[0, 0]) for array in arrays] == [5, 6, 7]
    assert copies.waited == [5, 5, 5]  # one copy, which begins with the first
    assert all(array.wait().base is None for array in arrays)  # none keeps the others alive


def test_pinned_memory_stays_small(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_STAGED", 3 * 16)
    host = HostTransfer(ArrayStore(32))
    arrays = [host.put(torch.full((2, 2), float(n))) for n in range(8)]
    assert copies.waited == [0, 1, 2, 3, 4]  # the oldest first, the newest three in flight
    values = [int(array.wait()[0, 0]) for array in arrays]
    assert values == list(range(8))
    assert host.store.in_memory == 32
    assert [is_mapped(array.wait()) for array in arrays] == [False] * 2 + [True] * 6


def test_maps_may_stay_on_the_device_until_read(
    model: Model, plain: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_elsewhere", lambda _: True)
    sampler = Sampler(model, plain, Capture.standard(device="model"))
    record = sampler.step()
    held = record.c._layers[16]
    assert all(isinstance(value, PendingArray) for value in held.values())
    expected = Sampler(model, plain).step()
    np.testing.assert_array_equal(record.c[16], expected.c[16])
    np.testing.assert_array_equal(record.cross["star"], expected.cross["star"])
    assert all(isinstance(value, np.ndarray) for value in held.values())


@pytest.mark.parametrize("budget", [None, 0])
def test_printing_a_trace_waits_for_no_copy(
    model: Model, plain: Job, monkeypatch: pytest.MonkeyPatch, budget: int | None
) -> None:
    monkeypatch.setattr(transfer, "_elsewhere", lambda _: True)
    sampler = Sampler(model, plain, Capture.everything(budget=budget, device="model"))
    record, trace = sampler.step(), sampler.trace
    held: list[Any] = [x for named in record.cross.maps.waiting.values() for x in named.values()]
    for named in record.self_qk.waiting.values():
        held += [x for pair in named.values() for x in pair]
    assert all(isinstance(array, PendingArray) for array in held)
    before, on_disk = trace.nbytes, trace.nbytes_on_disk
    assert "per head" in repr(trace)
    assert "q and k" in trace._repr_html_()
    assert not any(array.ready for array in held)
    arrays = pack_tree(trace)[0].values()
    assert before == trace.nbytes == sum(array.nbytes for array in arrays)
    assert trace.nbytes_on_disk == sum(array.nbytes for array in arrays if is_mapped(array))
    assert (trace.nbytes_on_disk > on_disk) == (budget == 0)


def test_what_is_kept_holds_no_larger_tensor(model: Model, plain: Job) -> None:
    record = Sampler(model, plain, Capture.everything()).step()
    q, k = next(iter(record.self_qk.values()))
    for array in (q, k, *record.cross.layers(16).values()):
        base = array.base  # a tensor of its own, of just this size
        assert base is None or base.untyped_storage().nbytes() == array.nbytes
        assert array.flags.c_contiguous


# --- what was estimated --------------------------------------------------------------------------

CAPTURES = {
    "nothing": Capture.nothing(),
    "standard": Capture.standard(),
    "with queries": Capture.standard(queries=True),
    "everything": Capture.everything(),
    "in float32": Capture.everything(dtype="float32"),
    "filtered": Capture.where(
        layers=["up_blocks", "*.attentions.0.*"],
        steps=1,
        heads=[0, 3],
        tokens=["star", 0],
        queries=True,
    ),
    "by layer": Capture.where(layers="mid_block", scores="heads", c=False),
}


def counted(sampler: Sampler) -> int:
    """Bytes that a run will keep, as the estimate counts them."""
    latents = sampler.state.latents.numel()
    steps = sampler.stepper
    plans = [steps.plan(index) for index in range(sampler.total)]
    return sum(
        plan.capture.bytes_per_step(
            sampler.layers,
            len(steps.positions),
            sampler.cond.size,
            painta=plan.painta,
            text=sampler.cond.context.shape[1],
        )
        + 3 * 4 * latents  # before, after, x0
        + 3 * latents // 4  # preview
        for plan in plans
    )


@pytest.mark.parametrize("name", CAPTURES)
def test_what_is_counted_is_what_happens(model: Model, job: Job, name: str) -> None:
    sampler = Sampler(model, job.replace(steps=2), CAPTURES[name])
    said = counted(sampler)
    sampler.run()
    kept = sum(
        array.nbytes
        for name, array in arrays_of(sampler.trace).items()
        if not name.endswith(".rng") and ".grad." not in name and name != "node.0.after"
    )
    assert said == pytest.approx(kept, rel=0.001)


@pytest.mark.usefixtures("unet_not_counted")
def test_the_estimate_counts_so(model: Model, job: Job) -> None:
    sampler = Sampler(model, job.replace(steps=2), CAPTURES["filtered"])
    assert sampler.estimate().capture_bytes == counted(sampler)


def test_counting_names_and_heads_is_exact(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    one = Capture.where(layers=UP, heads=1, tokens="star", c=False, similarity=False, scores=False)
    layers = [layer for layer in sampler.layers if layer.name.startswith(UP)]
    size, tokens = (128, 128), len(one.positions(sampler.cond.words, 5))
    counted = one.bytes_per_step(sampler.layers, tokens, size, painta=True)
    assert counted == sum(2 * tokens * (128 // layer.level) ** 2 for layer in layers)


# --- the choice ----------------------------------------------------------------------------------


def test_a_filter_keeps_what_it_names(model: Model, plain: Job) -> None:
    full = Sampler(model, plain, Capture.everything(dtype="float32"))
    some = Sampler(
        model,
        plain,
        Capture.where(
            layers=UP,
            steps=[1],
            heads=[3, 0],
            tokens=["star", 0],
            queries=True,
            dtype="float32",
        ),
    )
    names = [layer.name for layer in full.layers if layer.name.startswith(UP)]
    assert names
    for step, (whole, part) in enumerate(zip(full, some, strict=True)):
        if step != 1:
            assert part.cross.levels == ()
            assert not len(part.c) + len(part.similarity) + len(part.self_qk)
            assert part.scores is None
            np.testing.assert_array_equal(part.x0_latents, whole.x0_latents)
            continue
        assert part.cross.levels == (16,)
        assert list(part.cross.layers(16)) == list(part.c.layers[16]) == names
        star = next(word.tokens for word in whole.cross.words if word.text == "star")
        assert part.cross.positions == (0, *star)
        for name in names:
            wanted = whole.cross.layers(16)[name][[0, 3]][:, [0, *star]]
            np.testing.assert_allclose(part.cross.layers(16)[name], wanted, atol=1e-6)
            np.testing.assert_array_equal(part.self_qk[name][0], whole.self_qk[name][0][[0, 3]])
        np.testing.assert_allclose(
            part.cross.map("star", layer=names[0], head=3),
            whole.cross.map("star", layer=names[0], head=3),
            atol=1e-6,
        )
        assert "star" in part.cross
        assert "red" not in part.cross
        with pytest.raises(KeyError, match="'red' was not kept"):
            part.cross["red"]
        with pytest.raises(KeyError, match=r"kept heads: \[0, 3\]"):
            part.cross.map("star", head=1)
        spread = part.cross.spread(part.cross.layers(16)[names[0]])
        assert spread.shape == (2, len(whole.cross.tokens), 8, 8)
        np.testing.assert_array_equal(spread[:, 0], part.cross.layers(16)[names[0]][:, 0])


def test_a_browser_gets_zeros_for_tokens_that_were_not_kept(model: Model, job: Job) -> None:
    from hdpainter_nb.trace import web

    sampler = Sampler(model, job, Capture.where(tokens="star", heads=2))
    sampler.step()
    buffers: list[bytes] = []
    frame = web.step_message(sampler.node, buffers)
    star = dict(frame["words"])["star"]
    for described in frame["maps"]:
        if described["kind"] in ("cross", "scores"):
            assert described["shape"][-3] == len(frame["tokens"])
            maps = np.frombuffer(buffers[described["buffer"]], np.uint8)
            maps = maps.reshape(-1, *described["shape"][-3:])
            for token in range(len(frame["tokens"])):
                assert maps[:, token].any() == (token in star)


def test_scores_in_detail(model: Model, job: Job) -> None:
    mean, layers, heads = (
        Sampler(model, job, Capture.standard(scores=detail)).step()
        for detail in ("mean", "layers", "heads")
    )
    assert not mean.score_maps
    for record in (layers, heads):
        np.testing.assert_allclose(record.scores, mean.scores, atol=1e-5)
        by_layer = record.score_maps.layers[32]
        assert list(by_layer) == [x.name for x in Sampler(model, job).layers if x.level == 32]
    for name, stack in heads.score_maps.layers[32].items():
        assert stack.shape == (8, 5, 4, 4)
        np.testing.assert_allclose(stack.mean(0), layers.score_maps.layers[32][name], atol=1e-5)
    np.testing.assert_allclose(layers.score_maps[32], mean.scores, atol=1e-5)
    one = Sampler(model, job, Capture.standard(scores="heads", heads=5, layers="mid_block*"))
    assert one.step().scores is None  # the middle block is at H/64
    one = Sampler(model, job, Capture.standard(heads=5)).step()
    expected = np.mean([stack[5] for stack in heads.score_maps.layers[32].values()], axis=0)
    np.testing.assert_allclose(one.scores, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"layers": "up_block.2"}, r"'up_block\.2'.*\n  down_blocks"),
        ({"layers": ["mid_block", "*attn3*"]}, "attn3"),
        ({"tokens": "ring"}, "'red', 'star'"),
        ({"tokens": 17}, "0 to 4"),
        ({"heads": 8}, "0 to 7"),
        ({"steps": range(90)}, "0 to 6"),
    ],
)
def test_what_does_not_exist_is_named(
    model: Model, job: Job, choice: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=f"(?s){sentence}"):
        Sampler(model, job, Capture.where(**choice))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"cross": "all"}, "'heads'"),
        ({"queries": "keys"}, "'self'"),
        ({"dtype": "int8"}, "'float16'"),
        ({"device": "gpu"}, "'model'"),
        ({"levels": (4,)}, "8, 16, 32, 64"),
        ({"steps": [-1]}, "from 0"),
        ({"layer": "mid_block"}, "'layer'; it has cross"),
    ],
)
def test_values_are_checked(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Capture.standard(**wrong)


def test_captures_are_values() -> None:
    chosen = Capture.where("up_blocks", range(3), {3, 0}, ["star"])
    assert chosen == Capture.where(("up_blocks",), range(3), [0, 3], "star")
    assert hash(chosen) == hash(chosen.replace())
    assert chosen.at(2) == chosen
    assert chosen.at(3).cross is None


def test_a_branch_with_other_words_keeps_those_that_it_has(model: Model, job: Job) -> None:
    sampler = Sampler(model, job, Capture.where(tokens=["red", "star"]))
    sampler.step()
    with pytest.warns(HDPainterWarning, match="'star' is no word of this prompt.*left out"):
        other = sampler.branch(prompt="a red circle")
    record = other.step()
    assert "red" in record.cross
    assert len(record.cross.positions) == 1


def test_an_upscaler_keeps_queries_too(tmp_path: Path) -> None:
    from hdpainter_nb import UpscaleJob, Upscaler, load_upscaler
    from support import builders

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    mask = np.zeros((256, 256), bool)
    mask[64:128, 64:128] = True
    model = load_upscaler(str(builders.make_upscaler_folder(tmp_path)), device="cpu")
    task = UpscaleJob(image[::4, ::4], image, mask, "a red star", steps=2)
    upscaler = Upscaler(model, task, Capture.where(tokens="star", queries=True, budget=0))
    upscaler.run(1)
    asked = upscaler.trace.ask(0)
    # its first attention looks at the text in all blocks but one
    assert len(asked.own) == sum(layer.own for layer in upscaler.layers)
    star = upscaler.records[0].cross.map("star", level=16)
    np.testing.assert_allclose(asked.word("star", level=16), star, atol=1e-3)


# --- what it costs -------------------------------------------------------------------------------


def test_standard_capture_costs_three_parts_in_a_thousand() -> None:
    """Counted exactly at Stable Diffusion 1.5's size; PAIntA's own work is not capture's."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, in_channels=9, cross_attention_dim=768, attention_head_dim=8
        ).half()
    side = 512
    h = side // 8
    masks = {level: torch.zeros(side // level, side // level) for level in (16, 32)}
    for mask in masks.values():
        mask[: len(mask) // 2] = 1
    cond = Conditioning(
        context=torch.zeros(2, 77, 768),
        latent_mask=torch.zeros(1, 1, h, h),
        masked_image_latents=torch.zeros(1, 4, h, h),
        painta_masks=masks,
        score_mask=masks[32],
        indices=(1, 2, 3),
        size=(side, side),
    )
    nothing, standard, everything = (
        step_cost(
            unet,
            cond,
            HookPlan(
                size=cond.size,
                indices=cond.indices,
                tokens=8,
                rows={level: mask.flatten().nonzero()[:, 0] for level, mask in masks.items()},
                capture=capture,
            ),
            Settings(rasg=False),
        ).flops
        for capture in (Capture.nothing(), Capture.standard(), Capture.everything())
    )
    # Cross-attention's Q K^T once more, all but the middle block's, in the conditional half;
    # at H/32 a second time, for the scores; and one row's self-attention for the similarity.
    heights = [h, h // 2, h // 4]
    channels = [320, 640, 1280]
    maps = sum(5 * 2 * 77 * n * n * d for n, d in zip(heights, channels, strict=True))
    scores = 5 * 2 * 77 * heights[2] ** 2 * channels[2]
    similarity = sum(5 * 2 * n * n * d for n, d in zip(heights[1:], channels[1:], strict=True))
    assert standard - nothing == maps + scores + similarity
    assert standard - nothing < 0.003 * nothing
    assert everything - nothing < 0.006 * nothing


def test_queries_cost_nothing(folders: dict[str, str], job: Job) -> None:
    """They are computed anyway: keeping them adds no arithmetic."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for queries in (False, True):
        sampler = Sampler(load(folders["sd15"]), job, Capture.nothing(queries=queries))
        with (
            FlopCounterMode(display=False) as counter,
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        ):
            sampler.step()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("unet_not_counted")
def test_an_estimate_says_what_goes_to_disk(model: Model, job: Job) -> None:
    whole = Sampler(model, job, Capture.everything(budget=None)).estimate()
    part = Sampler(model, job, Capture.everything(budget="1 kB")).estimate()
    assert "on disk" not in str(whole)
    assert "all but 1 kB of it on disk" in str(part)
    assert part.capture_bytes == whole.capture_bytes
