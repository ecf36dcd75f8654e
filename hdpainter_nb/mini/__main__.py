"""`python -m hdpainter_nb.mini`: what can be run here."""

from __future__ import annotations

print(
    """The bundled miniatures. Each of these says more with --help; run from the repository's root.

  python -m hdpainter_nb.mini.train_vae  --minutes 16   the autoencoder, into data/mini/vae
  python -m hdpainter_nb.mini.train      --minutes 75   denoiser and text encoder, into data/mini
  python -m hdpainter_nb.mini.oracle     --minutes 4    the judge, into data/mini
  python -m hdpainter_nb.mini.evaluate   -n 200         paint, judge and print the table

Two more denoisers that begin with its weights:

  python -m hdpainter_nb.mini.train_text_to_image --minutes 45   4 channels, into data/mini_text
  python -m hdpainter_nb.mini.train_smartbrush --minutes 45      into data/mini_smartbrush

The x4 upscaler that goes with it:

  python -m hdpainter_nb.mini.train_vae  --factor 4     its autoencoder, into data/mini_x4/vae
  python -m hdpainter_nb.mini.train_x4   --minutes 40   its denoiser, into data/mini_x4
  python -m hdpainter_nb.mini.evaluate_x4 -n 50         make larger, compare, print the table

The training scripts keep checkpoints in runs/mini and go on from them when run again."""
)
