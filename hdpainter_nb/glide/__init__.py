"""GLIDE's text-guided inpainting in pixels (arXiv 2112.10741), stepped and watched like the rest.

- `job`: a hole to fill at 64 px, and the result to make four times as large
- `conditioning`: a job as the networks are told it
- `model`: the two networks, read from their files
- `step`: one ancestral step
- `sampler`: steps either stage; the first hands over to the second
"""
