"""What the training scripts of `hdpainter_nb.mini` are made of.

Networks: `autoencoder`, `networks` (text encoder, denoiser, schedule), `networks_x4`, `tokenizer`.
Examples: `data` for inpainting, `data_text` for text-to-image, `data_objects` (with `object_masks`
and `object_rows`) and `data_coco` for SmartBrush's recipe, `data_x4` for the upscaler; `feed` has
other processes make them.
Learning: `learner` (optimiser, moving average, annealing), `supervise` (attention that points at
its objects), `noising`, `smartbrush` (its network and losses), `exact` (a run that can be ended
anywhere), `precision`, `parallel` (processes that average their weights), `writing` (to disk).
"""
