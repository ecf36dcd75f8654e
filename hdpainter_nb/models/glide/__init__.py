"""The two networks of GLIDE's inpainting (Nichol et al. 2021, arXiv 2112.10741), and their files.

- `config`: widths and depths
- `tokenizer`: prompts as byte pairs
- `text`, `attention`, `blocks`, `unet`: the network, text transformer included
- `schedule`: its noise schedules, respacing and ancestral step
- `weights`: a network from a file
"""
