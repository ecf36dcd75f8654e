"""Hooks inside the UNet: the only code that touches diffusers' `Attention`."""
