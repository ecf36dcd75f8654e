"""Interventions: each changes what it says, nothing else, and leaves the pipeline as it was."""

from __future__ import annotations

import dataclasses
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from hdpainter_nb import Capture, Job, Sampler, Trace, load
from hdpainter_nb.attention.layers import attention_layers, heads, project_out
from hdpainter_nb.edits.builtin import Custom, MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
from hdpainter_nb.edits.codec import pack_edits, unpack_edits
from hdpainter_nb.edits.edit import Edit, Site
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.method.attention import probabilities
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.batch import SamplerBatch
from hdpainter_nb.sampling.predict import Prediction, predict
from hdpainter_nb.trace.tree import Branch
from hdpainter_nb.trace.web import branches

pytestmark = pytest.mark.diffusers
LAYERS = Capture(cross="layers")


@pytest.fixture
def quick(job: Job) -> Job:
    return job.replace(steps=2, rasg=False)


def first_layer(model: Model) -> Any:
    return attention_layers(model.unet)[0]


def watch_attention(attention: Any, sampler: Sampler) -> tuple[Tensor, Tensor, Tensor]:
    """Input, text and output of an attention module in the next step, by a hook of the test's."""
    kept: list[Any] = []

    def note(_: Any, args: Any, kwargs: Any, out: Tensor) -> None:
        kept.append((args[0], kwargs.get("encoder_hidden_states"), out))

    handle = attention.register_forward_hook(note, with_kwargs=True)
    sampler.step()
    handle.remove()
    return kept[0]


def by_hand(attn: Any, x: Tensor, text: Tensor | None, change: Any) -> tuple[Tensor, Tensor]:
    """The layer's output (2, hw, C) with `change` of the conditional half's (heads, hw, L)."""
    source = x if text is None else text
    q, k, v = (
        heads(attn, f(s)) for f, s in ((attn.to_q, x), (attn.to_k, source), (attn.to_v, source))
    )
    p = torch.stack([probabilities(q[row], k[row]) for row in range(2)])
    p[1] = change(p[1])
    return project_out(attn, p @ v), p[1]


# --- what each edit does -------------------------------------------------------------------------


@pytest.mark.parametrize("renormalise", [False, True])
def test_a_scaled_word(model: Model, quick: Job, renormalise: bool) -> None:
    edit = ScaleWord("star", 3.0, renormalise=renormalise)
    sampler = Sampler(model, quick, LAYERS).branch(edit=edit)
    layer = first_layer(model)
    with torch.no_grad():
        x, text, y = watch_attention(layer.block.attn2, sampler)

        def change(p: Tensor) -> Tensor:
            p = p.clone()
            for token in next(w for w in sampler.cond.words if w.text == "star").tokens:
                p[..., token] *= 3
            return p / p.sum(-1, keepdim=True) if renormalise else p

        wanted, edited = by_hand(layer.block.attn2, x, text, change)
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)
    shown = sampler.records[0].cross.layers(layer.level)[layer.name]
    kept = edited.mean(0)[:, : len(shown)].T.reshape(shown.shape)
    np.testing.assert_allclose(shown, kept.numpy(), atol=1e-3)  # the map is kept in float16


def look(sampler: Sampler) -> Prediction:
    """The prediction of a sampler's next step, which is not made."""
    return predict(sampler.model.unet, sampler.stepper.inputs(sampler.state))


def test_a_word_replaced_by_another_and_by_a_map(model: Model, quick: Job) -> None:
    sampler, name = Sampler(model, quick, LAYERS), first_layer(model).name
    plain = sampler.step().cross.layers(8)[name]
    sampler.back()
    star, red = (next(w for w in sampler.cond.words if w.text == t).tokens for t in ("star", "red"))
    other = sampler.branch(edit=ReplaceWord("star", "red")).step().cross.layers(8)[name]
    for token in star:
        np.testing.assert_allclose(other[token], plain[list(red)].mean(0), atol=1e-3)
    np.testing.assert_array_equal(other[list(red)], plain[list(red)])

    given = np.zeros((32, 32))
    given[:, 16:] = 0.5
    moved = sampler.branch(edit=ReplaceWord("star", given)).step().cross["star", 8]
    assert moved.shape == (16, 16)
    np.testing.assert_allclose(moved[:, :8], 0)
    np.testing.assert_allclose(moved[:, 8:], 0.5)


@pytest.mark.parametrize("attention", ["cross", "self"])
def test_an_ablated_head(model: Model, quick: Job, attention: Any) -> None:
    layer = first_layer(model)
    edit = ScaleHead(layer.name, 1, 0.0, attention=attention)
    sampler = Sampler(model, quick, Capture.nothing()).branch(edit=edit)
    attn = layer.block.attn2 if attention == "cross" else layer.block.attn1
    with torch.no_grad():
        x, text, y = watch_attention(attn, sampler)
        keep = torch.ones(attn.heads)
        keep[1] = 0  # without its row of probabilities, a head attends to nothing
        wanted, _ = by_hand(attn, x, text, lambda p: p * keep[:, None, None])
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)


def test_a_head_is_scaled_after_painta(model: Model, quick: Job) -> None:
    layer = next(x for x in attention_layers(model.unet) if x.level == 16)
    sampler = Sampler(model, quick)
    edits = [ScaleHead(layer.name, None, 0.0, attention="self"), SetC(0.5)]
    _, _, y = watch_attention(layer.block.attn1, sampler.branch(edit=edits))
    bias = layer.block.attn1.to_out[0].bias.detach()
    torch.testing.assert_close(y[1], bias.expand_as(y[1]))  # nothing but the bias is left
    assert not torch.allclose(y[0], bias.expand_as(y[0]), atol=1e-3)


def test_c_of_one_undoes_painta_and_c_of_zero_hides_what_is_known(model: Model, quick: Job) -> None:
    sampler = Sampler(model, quick)
    one = sampler.branch(edit=SetC(1)).step()
    none = sampler.branch(painta=False).step()
    painta = sampler.step()
    np.testing.assert_allclose(one.x0_latents, none.x0_latents, atol=1e-5)
    assert np.abs(painta.x0_latents - none.x0_latents).max() > 1e-4
    np.testing.assert_array_equal(one.c[16], 1)
    zero = sampler.back().branch(edit=SetC(0.0)).step()
    known = ~sampler.cond.painta_masks[16].numpy()
    np.testing.assert_array_equal(zero.similarity_painta[16][known], 0)


def test_c_by_a_map_and_by_a_function(model: Model, quick: Job) -> None:
    sampler, ramp = Sampler(model, quick), np.linspace(0, 1, 64).reshape(8, 8)
    plain = sampler.step()
    sampler.back()
    mapped = sampler.branch(edit=SetC(ramp, layer="down_blocks.1*")).step()
    halved = sampler.branch(edit=SetC(lambda c, site: c / 2)).step()
    (name, own), *rest = mapped.c.layers[16].items()
    assert name.startswith("down_blocks.1")
    np.testing.assert_allclose(own, ramp, atol=1e-6)
    assert all(np.abs(array - ramp).max() > 0.05 for _, array in rest)
    np.testing.assert_allclose(halved.c.layers[16][name], plain.c.layers[16][name] / 2, atol=1e-6)


def test_the_run_of_the_same_mask_is_the_same_run(model: Model, job: Job) -> None:
    job = job.replace(steps=1)
    sampler = Sampler(model, job)
    same = sampler.branch(edit=MoveMask(job.mask, unet=True)).step()
    np.testing.assert_array_equal(same.x0_latents, sampler.step().x0_latents)


def test_a_moved_mask(model: Model, job: Job) -> None:
    other = np.zeros((128, 128), bool)
    other[:64, :64] = True
    sampler = Sampler(model, job.replace(steps=1))
    moved, unet = (sampler.branch(edit=MoveMask(other, unet=unet)) for unet in (False, True))
    told = moved.stepper.edited(0)
    assert told.painta_masks[16][:4, :4].all()
    assert not told.painta_masks[16][5:].any()
    assert told.score_mask[0, 0] == 1
    assert torch.equal(told.latent_mask, sampler.cond.latent_mask)
    assert unet.stepper.edited(0).latent_mask[0, 0, :8, :8].all()
    assert not unet.stepper.edited(0).latent_mask[0, 0, 9:].any()
    a, b, c = sampler.step(), moved.step(), unet.step()
    assert a.score != b.score
    assert np.abs(a.similarity[16] - b.similarity[16]).max() > 1e-3
    assert np.abs(b.x0_latents - c.x0_latents).max() > 1e-4


@pytest.mark.parametrize("shape", [(64, 128), (1, 1), (127, 128), (256, 256), (1, 5000)])
@pytest.mark.parametrize("size", ["pad", "squash"])
def test_a_moved_mask_is_of_the_pictures_size(
    model: Model, job: Job, shape: tuple[int, int], size: Any
) -> None:
    sampler = Sampler(model, job.replace(steps=1, size=size))
    with pytest.raises(SettingsError, match=r"picture's own size: .* shape \(128, 128\)"):
        sampler.branch(edit=MoveMask(np.ones(shape)))


def test_without_a_job_a_moved_mask_fits_the_frame(model: Model, job: Job) -> None:
    """Then nobody knows the picture's size."""
    cond, state = model.prepare(job)
    sampler = Sampler.from_cond(model, cond, state, job.settings)
    sampler.branch(edit=MoveMask(job.mask)).step()
    for shape in ((64, 128), (127, 128), (256, 100)):
        with pytest.raises(SettingsError, match="fits a frame of"):
            sampler.branch(edit=MoveMask(np.ones(shape))).step()


@pytest.mark.parametrize(
    "mask",
    [
        np.full((128, 128), np.nan),
        np.full((128, 128), "x"),
        np.full((128, 128), None),
        np.zeros((128, 128, 3)),
        np.zeros((0, 5)),
        "mask.png",
        None,
        5,
        [[1, 2], [3]],
        torch.zeros((128, 128), device="meta"),
    ],
    ids=[*"abcdefghij"],
)
def test_a_moved_mask_is_an_array_of_numbers(mask: Any) -> None:
    with pytest.raises(SettingsError, match=r"(to|The mask) (must be|holds) .*\.$"):
        MoveMask(mask)
    assert MoveMask(torch.eye(4, requires_grad=True)).to.sum() == 4  # type: ignore[arg-type]


class Scattered:
    """A mask function that gives another mask each time, and remembers which."""

    def __init__(self) -> None:
        self.rng = torch.Generator().manual_seed(0)
        self.given: dict[tuple[str, int], list[Tensor]] = {}

    def __call__(self, mask: Tensor, site: Site) -> Tensor:
        new = (torch.rand(mask.shape, generator=self.rng) > 0.5).float()
        self.given.setdefault((site.reader, site.level), []).append(new)
        return new

    def only(self, reader: str, level: int) -> Tensor:
        (mask,) = self.given[reader, level]
        return mask


@pytest.mark.parametrize("kind", ["sd15", "sd15-4ch"])
def test_all_that_a_step_does_goes_by_one_mask(
    folders: dict[str, str], job: Job, kind: str
) -> None:
    """PAIntA's rows, the UNet's channel and the region that is kept, though masks are random."""
    model, scattered = load(folders[kind]), Scattered()
    sampler = Sampler(model, job.replace(steps=1), Capture.nothing(queries="self"))
    sampler = sampler.branch(edit=Custom(mask=scattered))
    channels: list[Tensor] = []
    hook = model.unet.register_forward_pre_hook(lambda _, args: channels.append(args[0][:, 4:5]))
    record = sampler.step()
    hook.remove()
    assert {*scattered.given} == {("painta", 16), ("painta", 32), ("rasg", 32), ("unet", 8)}
    for level in (16, 32):
        wanted = scattered.only("painta", level).numpy() > 0
        np.testing.assert_array_equal(record.holes[level], wanted)
    scattered.only("rasg", 32)
    told, known = scattered.only("unet", 8), sampler.cond.known_latents
    if known is None:
        assert all(torch.equal(channel[0, 0], told) for channel in channels)
        assert len(channels) == 2
    else:
        kept = (sampler.state.latents == known).all(1)[0]
        assert torch.equal(kept, told == 0)


def test_a_mask_edit_is_asked_once_for_each_reader(model: Model, quick: Job) -> None:
    asked: list[str] = []

    def count(mask: Tensor, site: Site) -> Tensor:
        asked.append(site.reader)
        return mask

    edit, each = Custom(mask=count), ["painta", "painta", "rasg", "unet"]
    sampler = Sampler(model, quick).branch(edit=edit)
    record = sampler.step()
    assert sorted(asked) == each
    asked.clear()
    sampler.attention(record)
    assert sorted(asked) == each
    asked.clear()
    SamplerBatch(model, quick, 2).branch(edit=edit).step()
    assert sorted(asked) == sorted(2 * each)


@pytest.mark.parametrize(
    ("meant", "pattern"),
    [
        ("down_blocks.1", "down_blocks.1.*"),
        ("up_blocks.1.attentions.0", "up_blocks.1.attentions.0.*"),
        ("*.attentions.1.*", "*.attentions.1.*"),
    ],
)
def test_a_layer_is_named_in_one_way_everywhere(
    model: Model, quick: Job, meant: str, pattern: str
) -> None:
    whole = Sampler(model, quick, LAYERS)
    names = [layer.name for layer in whole.layers if fnmatchcase(layer.name, pattern)]
    assert 0 < len(names) < len(whole.layers)
    edit = Even(0.5)
    edit.layer = meant
    record = whole.branch(edit=edit).step()
    assert [site.layer for site in edit.sites] == names
    whole.branch(edit=ScaleHead(meant, 0, 0.0)).step()
    found = whole.trace.screen("star", 1).where(layer=meant)
    assert {row.layer for row in found} <= {*names}
    there = {n for level in (8, 16, 32) for n in record.cross.layers(level)}
    assert {row.layer for row in found} == {*names} & there
    chosen = Sampler(model, quick, Capture.where(layers=meant, cross="layers")).step()
    assert {n for level in chosen.cross.levels for n in chosen.cross.layers(level)} == {
        row.layer for row in found
    }
    level = 16 if any(row.level == 16 for row in found) else found[0].level
    assert level is not None
    stacks = [m for n, m in record.cross.layers(level).items() if n in names]
    mean = np.mean([stack[3] for stack in stacks], 0, dtype=np.float32)
    np.testing.assert_allclose(record.cross.map(3, layer=meant), mean, atol=1e-3)


def test_a_layer_that_is_not_there_raises_everywhere(model: Model, quick: Job) -> None:
    sampler, nowhere = Sampler(model, quick, LAYERS), "down_blocks.9"
    record = sampler.step()
    with pytest.raises(SettingsError, match=re.escape(nowhere)):
        Sampler(model, quick, Capture.where(layers=nowhere))
    with pytest.raises(SettingsError, match=re.escape(nowhere)):
        sampler.back().branch(edit=ScaleHead(nowhere, 0, 0.0))
    with pytest.raises(SettingsError, match=r"layer='down_blocks.9'\. There are\n  down_blocks.0"):
        sampler.trace.screen("star").where(layer=nowhere)
    with pytest.raises(KeyError, match=re.escape(nowhere)):
        record.cross.map("star", layer=nowhere)


def test_only_the_half_that_is_asked_for(model: Model, quick: Job) -> None:
    sampler = Sampler(model, quick.replace(painta=False))
    plain = look(sampler)
    for half, changed in (
        ("cond", (False, True)),
        ("uncond", (True, False)),
        ("both", (True, True)),
    ):
        edit = ScaleHead("*", None, 0.5, half=half)  # type: ignore[arg-type]
        said = look(sampler.branch(edit=edit))
        assert said.uncond is not None
        assert plain.uncond is not None
        moved = [(said.uncond - plain.uncond).abs().max(), (said.cond - plain.cond).abs().max()]
        assert tuple(bool(m > 1e-3) for m in moved) == changed
        assert min(moved) < 1e-5 or half == "both"


# --- the methods under edits ---------------------------------------------------------------------


def test_what_the_methods_read_is_not_edited_in_that_layer(model: Model, quick: Job) -> None:
    """c of a layer whose own cross-attention is edited is c of the attention as it was."""
    layer = next(x for x in attention_layers(model.unet) if x.level == 16)
    sampler = Sampler(model, quick, LAYERS)
    plain = sampler.step()
    edit = ScaleWord("star", 0.0, layer=layer.name)
    edited = sampler.back().branch(edit=edit).step()
    np.testing.assert_array_equal(edited.c.layers[16][layer.name], plain.c.layers[16][layer.name])
    assert edited.cross.layers(16)[layer.name][3:4].max() < plain.cross["star", 16].max()
    last = list(plain.c.layers[16])[-1]
    assert np.abs(edited.c.layers[16][last] - plain.c.layers[16][last]).max() > 1e-6


def test_the_gradient_flows_through_edited_attention(model: Model, job: Job) -> None:
    """Along g, S changes as fast as g is long: finite differences under the same edits."""
    edits = [ScaleWord("star", 4.0, layer="down_blocks.[01]*"), ScaleHead("*", 0, 0.3)]
    sampler = Sampler(model, job.replace(painta=False))
    stepper = sampler.branch(edit=edits).stepper
    x, inputs = sampler.state.latents, stepper.inputs(sampler.state)

    def ask(at: Tensor) -> Any:
        return predict(model.unet, dataclasses.replace(inputs, x=at))

    said = ask(x)
    assert said.grad is not None
    length = said.grad.norm()
    along = said.grad / length
    rise = ask(x + 0.2 * along).score - ask(x - 0.2 * along).score
    assert float(rise / 0.4) == pytest.approx(float(length), rel=0.03)
    plain = look(sampler).grad
    assert plain is not None
    assert float((plain - said.grad).norm() / plain.norm()) > 0.05


def test_attention_is_asked_under_the_edits_of_its_step(model: Model, quick: Job) -> None:
    sampler = Sampler(model, quick)
    plain = sampler.step()
    other = sampler.back().branch(edit=SetC(0.25))
    edited = other.step()
    for asked in (sampler, other):  # whoever asks
        assert all(list(np.unique(c)) == [0.25] for c in asked.attention(edited).c[16].values())
    assert any(len(np.unique(c)) > 1 for c in sampler.attention(plain).c[16].values())


def test_a_run_with_edits_can_be_estimated(model: Model, quick: Job) -> None:
    sampler = Sampler(model, quick)
    edits = [ScaleWord("star", 2.0), ReplaceWord("red", np.eye(4)), ScaleHead("*", 0, 0), SetC(0.5)]
    other = sampler.branch(edit=[*edits, MoveMask(quick.mask)])
    assert other.estimate().flops >= sampler.estimate().flops


# --- nothing else --------------------------------------------------------------------------------


def test_edits_act_in_their_steps_only(model: Model, job: Job) -> None:
    sampler = Sampler(model, job.replace(rasg=False))
    plain = list(sampler)
    sampler.restart()
    other = sampler.branch(edit=ScaleWord("star", 5.0, steps=slice(-2, None)))
    records = list(other)
    for a, b in list(zip(plain, records, strict=True))[:-2]:
        np.testing.assert_array_equal(a.x0_latents, b.x0_latents)
    assert np.abs(plain[-2].x0_latents - records[-2].x0_latents).max() > 1e-4
    assert [
        ScaleWord("a", 0, steps=s).in_step(3, 7) for s in (3, [1, 3], range(3), slice(-1, None))
    ] == [
        True,
        True,
        False,
        False,
    ]


def test_the_pipeline_is_as_it_was_after_edits_and_after_their_errors(
    model: Model, job: Job
) -> None:
    def state() -> Any:
        hooks = {
            n: (len(m._forward_pre_hooks), len(m._forward_hooks))
            for n, m in model.unet.named_modules()
        }
        return {k: id(v) for k, v in model.unet.attn_processors.items()}, hooks

    def fail(p: Tensor, site: Site) -> Tensor:
        raise ZeroDivisionError(site.layer)

    before, sampler = state(), Sampler(model, job)
    every = [ScaleWord("red", 0), ScaleHead("mid*", 0, 0, attention="self"), SetC(0.3)]
    sampler.branch(edit=every).step()
    assert state() == before
    other = sampler.branch(edit=Custom(cross=fail, layer="up*"))
    with pytest.raises(ZeroDivisionError, match=r"up_blocks"):
        other.step()
    assert state() == before
    assert other.index == 0
    plain, dropped = sampler.step(), other.branch(edit=()).step()
    np.testing.assert_array_equal(plain.x0_latents, dropped.x0_latents)


def test_other_processors_change_by_what_the_edit_changes(model: Model, quick: Job) -> None:
    """`AttnProcessor` computes the same in another way: it is called, and then corrected."""
    sampler = Sampler(model, quick).branch(edit=ScaleWord("star", 6.0))
    sampler.step()
    originals = dict(model.unet.attn_processors)
    try:
        model.unet.set_attn_processor({name: AttnProcessor() for name in originals})
        foreign = Sampler(model, quick).branch(edit=ScaleWord("star", 6.0))
        foreign.step()
    finally:
        model.unet.set_attn_processor(dict(originals))
    torch.testing.assert_close(foreign.state.latents, sampler.state.latents, atol=1e-4, rtol=0)


class Even(Edit):
    """A class of the user's own."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.sites: list[Site] = []

    def cross(self, probabilities: Tensor, site: Site) -> Tensor:
        self.sites.append(site)
        return probabilities * (1 - self.share) + self.share / probabilities.shape[-1]

    def arguments(self) -> dict[str, Any]:
        return {"share": self.share}


def test_an_edit_of_ones_own_sees_where_it_is(model: Model, quick: Job) -> None:
    edit = Even(1.0)
    record = Sampler(model, quick).branch(edit=edit).step()
    layers = attention_layers(model.unet)
    assert [site.layer for site in edit.sites] == [layer.name for layer in layers]
    assert [site.shape for site in edit.sites] == [(128 // x.level,) * 2 for x in layers]
    assert {(s.step, s.timestep, s.half, s.attention) for s in edit.sites} == {
        (0, 999, "cond", "cross")
    }
    assert edit.sites[0].positions("<eot>") == [len(record.cross.tokens) - 1]
    flat = record.cross["red", 8]
    np.testing.assert_allclose(flat, flat[0, 0])
    assert str(edit) == "Even(share=1.0)"


# --- what cannot be ------------------------------------------------------------------------------


def test_wrong_edits_say_what_there_is(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    count = len(sampler.trace.branches)
    wrong: list[tuple[Any, str]] = [
        (
            ScaleWord("stat", 2),
            "'stat' is not a word of this prompt; its words are 'a', 'red', 'star'",
        ),
        (ReplaceWord("star", "blue"), "'blue' is not a word"),
        (ScaleWord(99, 2), "There is no token 99; there are 0 to 4"),
        (ScaleHead("up_blocks.9*", 0, 0), r"called 'up_blocks.9\*'; there are\n  down_blocks.0"),
        (ScaleHead("mid*", 64, 0), "There is no head 64 in 'mid\\*'; there are 0 to 7"),
        (ScaleWord("star", 2, steps=slice(50, 60)), "in no step: the run has steps 0 to 6"),
        (Edit(), "changes nothing: give it one of the methods mask, c, cross, heads"),
        (lambda p, site: p, r"is not an edit; wrap it: Custom\(cross=...\)"),
        ("star", "'star' is not an edit; such as ScaleWord"),
    ]
    for edit, message in wrong:
        with pytest.raises(SettingsError, match=message):
            sampler.branch(edit=edit)
    with pytest.raises(SettingsError, match="which only PAIntA has: set painta=True"):
        sampler.branch(painta=False, edit=SetC(0))
    with pytest.raises(SettingsError, match="switch one on, or pass unet=True"):
        sampler.branch(painta=False, rasg=False, edit=MoveMask(job.mask))
    with pytest.raises(SettingsError, match="factor must be a number, not nan"):
        ScaleWord("star", float("nan"))
    with pytest.raises(SettingsError, match="half must be one of 'cond', 'uncond', 'both', not"):
        Custom(cross=lambda p, s: p, half="left")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="a function for one of mask, c, cross, heads"):
        Custom()
    assert len(sampler.trace.branches) == count  # none was opened
    sampler.run(2)
    with pytest.raises(SettingsError, match=r"made already: go back\(\)"):
        sampler.branch(edit=ScaleWord("star", 2, steps=slice(0, 2)))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, site: None, "gave nothing"),
        (lambda p, site: p[0], "gave the shape"),
        (lambda p, site: p * float("nan"), "gave values that are not finite"),
        (lambda p, site: p + float("inf"), "gave values that are not finite"),
        (lambda p, site: "probabilities", "gave 'probabilities'"),
        (lambda p, site: [[1.0], [1.0, 2.0]], "gave "),
        (lambda p, site: 5, r"gave the shape \(\)"),
        (lambda p, site: p + 1j, "gave a tensor of torch.complex64"),
        (lambda p, site: p.detach().to_sparse(), "gave a tensor of .*sparse_coo"),
        (lambda p, site: p.to("meta"), "gave "),
        (lambda p, site: np.full(p.shape, None), "gave an array of shape .* of object"),
        (lambda p, site: np.full(p.shape, "x"), "gave an array of shape"),
    ],
)
def test_an_edit_must_give_back_what_it_was_given(
    model: Model, quick: Job, function: Any, said: str
) -> None:
    sampler = Sampler(model, quick)
    edited = sampler.branch(edit=Custom(cross=function))
    with pytest.raises(SettingsError, match=f"{said}.*return the changed tensor"):
        edited.step()
    assert edited.index == 0
    assert edited.branch(edit=()).step().index == sampler.step().index  # all can go on


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", "all"), ("steps", 1.5), ("layer", 5), ("half", "left"), ("attention", None)],
)
def test_what_an_edit_of_ones_own_says_of_itself_is_looked_at(
    model: Model, quick: Job, name: str, value: Any
) -> None:
    class Mine(Even):
        pass

    setattr(Mine, name, value)
    sampler = Sampler(model, quick)
    with pytest.raises(SettingsError, match=f"{name} must be"):
        sampler.branch(edit=Mine(1.0))
    Mine.steps, Mine.layer, Mine.half, Mine.attention = np.int64(0), "*", "cond", "cross"
    sampler.branch(edit=Mine(1.0)).step()


# --- remembered ----------------------------------------------------------------------------------

KEPT = [
    ScaleWord("star", 2.0, steps=slice(0, 10)),
    ScaleWord(3, 0, renormalise=True, steps=[1, 2]),
    ReplaceWord("star", np.eye(4)),
    ReplaceWord("star", "red", layer="mid*"),
    ScaleHead("up*", 3, 0.0, attention="self", half="both"),
    SetC(np.float32(1)),  # type: ignore[arg-type]
    MoveMask(np.eye(16), steps=range(3)),
]


@pytest.mark.parametrize("edit", KEPT, ids=str)
def test_what_is_unpacked_is_what_was_packed(edit: Edit) -> None:
    import json

    (again,) = unpack_edits(json.loads(json.dumps(pack_edits([edit]))))
    assert type(again) is type(edit)
    assert str(again) == str(edit) or "steps" in str(edit)
    assert all(again.in_step(i, 12) == edit.in_step(i, 12) for i in range(12))


def test_a_branch_tells_and_keeps_its_edits(model: Model, quick: Job, tmp_path: Path) -> None:
    sampler = Sampler(model, quick)
    sampler.step()
    edits = [ScaleWord("star", 2.0, steps=slice(0, 9)), SetC(0.5)]
    other = sampler.branch(edit=edits, guidance_scale=3.0)
    name = "guidance_scale=3.0, ScaleWord('star', 2.0, steps=0:9), SetC(0.5)"
    assert other.branch_name == name
    assert other.branch(guidance_scale=4.0).edits == tuple(edits)  # kept until told otherwise
    dropped = other.branch(edit=())
    assert (dropped.branch_name, dropped.edits) == ("no edits", ())
    assert "“star” × 2, steps 1 to 9, c set to 0.5" in sampler.trace._repr_html_()
    assert [len(b["edits"]) for b in branches(sampler.trace)] == [0, 2, 2, 0]

    loaded = Trace.load(sampler.trace.save(tmp_path / "run.hdp"))
    assert loaded.branches[1].edits == tuple(edits)
    taken_up = Sampler.from_trace(model, loaded, name)
    np.testing.assert_array_equal(taken_up.step().x0_latents, other.step().x0_latents)


def test_a_trace_without_edits_is_as_before(model: Model, quick: Job) -> None:
    trace = Sampler(model, quick).trace
    assert "edits" not in trace._repr_html_()
    branch = Branch(id=0, name="main", prompt="", settings=quick.settings, parent=None, start=0)
    assert branch.edits == ()


def test_code_of_ones_own_does_not_come_back(model: Model, quick: Job, tmp_path: Path) -> None:
    def soften(c: Tensor, site: Site) -> Tensor:
        return c.sqrt()

    sampler = Sampler(model, quick)
    edits = [Even(0.5), Custom(c=soften), SetC(soften)]
    sampler.branch(edit=edits).step()
    loaded = Trace.load(sampler.trace.save(tmp_path / "run.hdp"))
    names = "Even(share=0.5), Custom(c=soften), SetC(soften)"
    assert loaded.branches[1].name == names
    assert list(map(str, loaded.branches[1].edits)) == names.split(", ")
    assert len(loaded.records(1)) == 1  # it can be looked at
    taken_up = Sampler.from_trace(model, loaded, 1)
    with pytest.raises(SettingsError, match=r"Even\(share=0.5\), which is code of your own"):
        taken_up.step()
    with pytest.raises(SettingsError, match=r"branch\(edit=\(\)\)"):
        taken_up.branch(guidance_scale=2.0)
    assert taken_up.branch(edit=edits).step().index == 1
    assert taken_up.branch(edit=()).step().index == 1


def test_only_a_sampler_takes_edits() -> None:
    from types import SimpleNamespace

    from hdpainter_nb.sampling.active_edits import check

    check(SimpleNamespace(edits=()))
    with pytest.raises(SettingsError, match="leave out edit="):
        check(SimpleNamespace(edits=(ScaleWord("star", 2),)))
