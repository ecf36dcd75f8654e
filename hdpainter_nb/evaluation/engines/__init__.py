"""Who does the work of a run: this process, several, or several machines.

- `engine`: the protocol, and a piece of work; `local`: processes of this machine
- `ray`: actors of a Ray cluster; `slurm`: jobs through submitit
"""
