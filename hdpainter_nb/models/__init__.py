"""Networks: opening them and talking to them.

- `loading`, `families`, `defaults`, `devices`: by name or path to a pipeline, and where it lies
- `model`: a UNet with its pipeline, and what a sampler asks of them
- `conditioning`, `prompt`, `controlnet`: a job as the UNet is told it
- `schedulers`: DDIM and diffusers' schedulers behind one protocol
- `vae`, `vae_memory`, `out_of_memory`: encoding, decoding, and doing so in less memory
"""
