"""A sampler with buttons: play, step, go back, branch."""
