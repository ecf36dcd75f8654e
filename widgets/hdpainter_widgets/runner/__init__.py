"""Work beside the notebook's thread."""
