"""Work beside the notebook's thread.

`runner`: `Runner` and `SyncRunner`, with threads and without. `restarting`: the same, beginning a
new run when another is wanted. `base`: the commands that all of them carry out. `state`: what they
tell. `decoding`: pictures of each step. `threads`: turns on a model, the thread that listeners are
called on.
"""
