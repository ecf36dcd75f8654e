"""Inside the UNet: the only code that touches diffusers' `Attention`.

- `layers`: which attention layers a UNet has
- `plan`: what the hooks of a step are to do
- `processors`: the hooked self- and cross-attention, PAIntA among them
- `observations`: what they saw, as the fields of a record
- `hooks`: all of them in, and out again whatever happens
"""
