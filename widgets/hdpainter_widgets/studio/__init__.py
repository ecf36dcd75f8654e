"""The whole in one page.

`studio`: its parts and commands. `page`: how they are laid out. `inputs`: the controls that a job
is made from, with `settings_form` for the settings. `results`: what shows the run. `files`: what
saves it. `upscaling`: what makes the picture larger, with `upscaling_form`. `shortcuts`: keys.
"""
