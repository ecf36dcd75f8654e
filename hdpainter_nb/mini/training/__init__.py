"""What the training scripts `train_vae`, `train` and `train_x4` are made of.

Networks: `autoencoder`, `networks` (text encoder, denoiser, schedule), `networks_x4`, `tokenizer`.
Examples: `data` for inpainting, `data_x4` for the upscaler; `feed` has other processes make them.
Learning: `learner` (optimiser, moving average, annealing), `supervise` (attention that points at
its objects), `precision`, `parallel` (processes that average their weights), `writing` (to disk).
"""
