"""A sampler with buttons.

`player`: what they do. `controls`: the buttons, sliders and pictures. `frames`: what the pictures
show.
"""
