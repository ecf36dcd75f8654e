"""The paper: pure functions on tensors, each of which says its equation."""
