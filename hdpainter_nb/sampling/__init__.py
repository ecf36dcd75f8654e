"""Samplers: one step, and many.

- `step`: x_t to x_{t-1} in the paper's order; start reading here
- `predict`: the UNet under hooks, and the gradient of S
- `active_edits`: the edits that act in a step
- `base`, `cursor`, `sampler`: step, go back, branch, run, cancel
- `batch`: several samplers that share a UNet call
- `cost`: time and memory before they are spent
- `watch`: the same hooks on a diffusers pipeline that someone else runs
"""
