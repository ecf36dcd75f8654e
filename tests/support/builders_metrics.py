"""Checkpoints for metrics with small random weights, laid out as the hub has them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet
from support.builders_tokenizer import make_tokenizer

WORDS = ("a", "red", "blue", "star", "circle", "photo", "of")
CLIP_PREPROCESSOR = {
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": {"shortest_edge": 32},
}
DETECTOR_PREPROCESSOR = {
    "do_convert_annotations": True,
    "do_normalize": False,
    "do_pad": False,
    "do_rescale": True,
    "do_resize": True,
    "format": "coco_detection",
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "RTDetrImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 64, "width": 64},
}


def make_clip_folder(path: Path, *, projection: int = 16, seed: int = 0) -> Path:
    """A CLIP of two layers for pictures of 32 px, with tokenizer and preprocessor config."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    tokenizer = make_tokenizer(path, WORDS, max_length=24)
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": projection,
    }
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config=text,
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=projection,
    )
    model = CLIPModel(config)
    with torch.no_grad():  # as they are made, all pictures look alike
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim > 1 or name.endswith("class_embedding"):
                rng = np.random.default_rng(zlib.crc32(name.encode()) + seed)
                weight.copy_(torch.from_numpy(rng.normal(0, 0.3, tuple(weight.shape))))
    model.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(CLIP_PREPROCESSOR))
    return path


def make_detector_folder(path: Path, *, labels: int = 80, seed: int = 0) -> Path:
    """An RT-DETR of one layer each for pictures of 64 px."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    torch.manual_seed(seed)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
        out_indices=[2, 3, 4],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        decoder_layers=1,
        num_queries=12,
        num_denoising=0,
        id2label={n: f"thing {n}" for n in range(labels)},
        label2id={f"thing {n}": n for n in range(labels)},
    )
    model = RTDetrForObjectDetection(config).eval()
    with torch.no_grad():
        for head in model.class_embed if hasattr(model, "class_embed") else []:
            head.weight.normal_(0, 0.5)
    model.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(DETECTOR_PREPROCESSOR))
    return path


def rtmdet_weights(names: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Numbers for RTMDet's weights that depend on nothing but their names and shapes.

    `tests/golden/rtmdet.npz` was made with the same in mmdet 3.3.0.
    """
    return {name: torch.from_numpy(_value(name, shape)) for name, shape in names.items()}


def _value(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    parts = name.split(".")
    if parts[1] in ("cls_convs", "reg_convs") and name.endswith("conv.weight"):
        parts[2] = "0"  # the levels share these
    rng = np.random.default_rng(zlib.crc32(".".join(parts).encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith(("running_var", "bn.weight")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("bias") and "rtm_cls" in name:
        return rng.uniform(-5, -4, shape).astype(np.float32)
    if name.endswith("bias") and "rtm_reg" in name:
        return rng.uniform(1, 3, shape).astype(np.float32)
    if name.endswith(("running_mean", "bias")):
        return rng.normal(0, 0.2, shape).astype(np.float32)
    gain = 0.012 if "rtm_cls" in name else 1.5
    return rng.normal(0, gain / np.prod(shape[1:]) ** 0.5, shape).astype(np.float32)


def painting(
    seed: int = 0, *, size: tuple[int, int] = (48, 64), prompt: str = "a red star", **facts: Any
) -> PaintedTriplet:
    """Noise painted over other noise; the hole is rows 8..32, columns 16..28, with a soft rim.

    Args:
        facts: `label` goes to the triplet, everything else to its facts.
    """
    rng = np.random.default_rng(seed)
    label = facts.pop("label", None)
    image, picture = (rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(2))
    soft = np.zeros(size, np.uint8)
    soft[8:32, 16:28] = 255
    soft[8, 16:28] = 40
    triplet = Triplet(f"{seed}_0", image, soft, prompt, label=label, facts=facts)
    return PaintedTriplet(FramedTriplet(triplet, image, soft), picture)
