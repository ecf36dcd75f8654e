"""What was seen. NumPy only: opening a file loads no torch.

`maps` and `record` hold one step, `tree` all steps, `trace` is the tree as its user has it. `file`
and `array_file` are its form on disk, which `reading` checks, `web` its form in a browser, `html`
that form in one file.
`attention` and `ranking` answer questions about it.
"""
