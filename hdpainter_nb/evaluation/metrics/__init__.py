"""What is measured of a picture, one module for each kind of metric.

- `metric`: the protocol, and what a metric is given
- `clip`, `clip_score`, `aesthetic`, `pickscore`: models of the CLIP family
- `detectors`, `rtmdet`, `accuracy`: is the asked object in the hole?
- `preservation`: what became of the known pixels; `external`: metrics of another interpreter
"""
