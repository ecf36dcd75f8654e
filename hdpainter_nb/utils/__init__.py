"""Helpers without an opinion on diffusion.

`check` and `messages` talk to people, `html` to notebooks; `files`, `nbytes` and `memory` are about
room; `bounded` and `fields` read what may come from anywhere; `lazy` is for packages, `turns` for
threads. Only `memory` knows torch.
"""
