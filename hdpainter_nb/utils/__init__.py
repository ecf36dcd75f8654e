"""Helpers without an opinion on diffusion."""
