"""Systems measured against each other on the same triplets: the paper's Tables 1 and 2.

- `triplet`, `triplets`: pictures with a hole and a prompt; the sets of them
- `protocol`: the switches of a measurement; `system`, `systems`: what paints the holes
- `run`, `engines`: a folder that outlives its processes, and who works on it
- `metrics`: what is measured of a picture; `statistics`: what it proves
- `tables`, `report`: Markdown, LaTeX, data frame, HTML; `catalogue`: the names of all this
"""
