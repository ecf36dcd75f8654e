"""Model folders of latent diffusion's layout with small random weights and BERT's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from support.builders import make_ddim, make_unet, make_vae

LENGTH = 16
WIDTH = 32
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (
    *("a", "red", "blue", "star", "circle", "paint", "cafe", "on", "s"),
    *("##ing", "##s", ",", "'"),
)


def make_ldm_folder(path: Path, *, size: int = 16, seed: int = 0) -> Path:
    """Write a model folder as the hub has it; its UNet says that it is of diffusers 0.0.4.

    size: latent side; the model is made for 8 * size pixels.
    """
    path = Path(path)
    torch.manual_seed(seed)
    _write_tokenizer(path / "tokenizer")
    make_bert().save_pretrained(path / "bert")
    make_unet(WIDTH, channels=4, size=size).save_pretrained(path / "unet")
    make_vae(8 * size).save_pretrained(path / "vqvae")
    make_ddim("epsilon").save_pretrained(path / "scheduler")
    for part in ("unet", "vqvae"):
        file = path / part / "config.json"
        config = json.loads(file.read_text())
        file.write_text(json.dumps({**config, "_diffusers_version": "0.0.4"}))
    index = {
        "_class_name": "LDMTextToImagePipeline",
        "_diffusers_version": "0.0.4",
        "bert": ["latent_diffusion", "LDMBertModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "BertTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vqvae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path


def make_bert() -> Any:
    """The text encoder, of two layers."""
    from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion as theirs

    config = theirs.LDMBertConfig(
        vocab_size=len(_SPECIAL) + len(PIECES),
        max_position_embeddings=LENGTH,
        encoder_layers=2,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=4,
        head_dim=8,
        d_model=WIDTH,
    )
    model = theirs.LDMBertModel(config)
    with torch.no_grad():  # as they are made, all prompts look alike
        for name, weight in model.named_parameters():
            if name.endswith("weight") and weight.ndim == 2:
                weight.normal_(std=0.2)
    return model


def _write_tokenizer(folder: Path) -> None:
    """With vocab.txt alone and BERT's usual length, as the model on the hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join((*_SPECIAL, *PIECES)) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
