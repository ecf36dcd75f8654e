"""GLIDE's weight files: what they must hold, and what is said of others."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.glide.weights import read_unet
from support.builders_glide import BASE, UPSAMPLER, make_unet


def state() -> dict[str, Tensor]:
    return make_unet(BASE).state_dict()


def written(path: Path, values: Any) -> Path:
    torch.save(values, path)
    return path


def test_a_network_comes_back(tmp_path: Path) -> None:
    weights = state()
    save_file(weights, tmp_path / "base.safetensors")
    for path in (written(tmp_path / "base.pt", weights), tmp_path / "base.safetensors"):
        unet = read_unet(path, BASE)
        assert all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())
        assert not unet.training
        assert not any(p.requires_grad for p in unet.parameters())


def test_half_precision_and_wrappers_are_read(tmp_path: Path) -> None:
    half = {name: value.half() for name, value in state().items()}
    assert read_unet(written(tmp_path / "a.pt", {"state_dict": half}), BASE).dtype == torch.float16
    mixed = {**half, "out.2.weight": half["out.2.weight"].float()}
    assert read_unet(written(tmp_path / "b.pt", mixed), BASE).dtype == torch.float32


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("out.2.bias"), "1 are missing, and 0 others.*lacks out.2.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 others are there .it also holds extra"),
        (
            lambda s: s.update({"out.2.bias": torch.zeros(3)}),
            r"out.2.bias has the shape \(3,\), and \(6,\)",
        ),
        (
            lambda s: s.update({"input_blocks.0.0.weight": torch.zeros(32, 3, 3, 3)}),
            "text-to-image network with 3 input channels.*base_inpaint.pt",
        ),
        (lambda s: s.update({"out.2.bias": torch.zeros(6, dtype=torch.int32)}), "torch.int32"),
        (lambda s: s.clear(), "are missing"),
    ],
)
def test_other_weights_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    weights = dict(state())
    change(weights)
    with pytest.raises(ModelError, match=message):
        read_unet(written(tmp_path / "base.pt", weights), BASE)


def test_the_other_stage_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "base.pt", state())
    with pytest.raises(ModelError, match=r"GLIDE's base network.*upsampler.*upsample_inpaint.pt"):
        read_unet(path, UPSAMPLER)


def test_another_size_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "base.pt", state())
    with pytest.raises(ModelError, match="network of another size"):
        read_unet(path, dataclasses.replace(BASE, text_width=64))


def test_nothing_in_a_file_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "base.pt", {**state(), "evil": Evil()})
    with pytest.raises(ModelError, match="holds more than tensors"):
        read_unet(path, BASE)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"version https://git-lfs.github.com"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "base.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"base\.pt"):
        read_unet(path, BASE)


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"openaipublic.*people"):
        read_unet(tmp_path / "base_inpaint.pt", BASE)
