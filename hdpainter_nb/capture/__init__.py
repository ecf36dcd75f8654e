"""What to keep of a step, and where it goes."""
