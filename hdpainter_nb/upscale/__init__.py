"""Four times as large: the inpainting-specialised upscaler (sec. 3.5).

- `job`, `geometry`: what is made larger, and in which frame
- `model`: the network, and a job as it is told it
- `step`: eq. 10 and eq. 4
- `upscaler`: steps, pastes and blends the whole picture
- `ablation`: with and without each part, side by side
"""
