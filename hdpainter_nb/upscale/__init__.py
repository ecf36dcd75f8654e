"""The second network, x4 (sec. 3.5)."""
