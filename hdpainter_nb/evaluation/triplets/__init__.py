"""Sets of triplets: COCO as the paper used it, a folder of one's own, a sample of either.

- `coco`: val2017 through the published list; `folder`: pictures, masks and prompts in files
- `sample`: some of a set, drawn in proportion to its groups
"""
