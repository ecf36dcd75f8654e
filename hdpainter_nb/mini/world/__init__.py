"""The drawn world: scenes, holes, captions and sets of them."""
