"""What was seen. NumPy only: opening a file loads no torch."""
