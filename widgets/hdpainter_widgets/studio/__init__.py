"""The whole in one page."""
