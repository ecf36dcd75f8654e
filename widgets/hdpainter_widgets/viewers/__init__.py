"""One trace, several faces; their names equal those of the browser's folders.

`heatmap`, `histogram`, `timeline`, `compare`: the faces. `base`: what they share. `stream`: how a
trace gets to the browser. `sources`: what a face is given, resolved. `branches`: a sampler for
every branch. `region_attention`: where a region of the picture looks.
"""
