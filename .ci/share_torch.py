"""Lend one environment's PyTorch to another through symbolic links.

PyTorch is by far the largest thing this project installs. An environment that
differs from ``.venv`` only in its diffusers (``make test-lowest``) borrows it:

    .venv-lowest/bin/python .ci/share_torch.py .venv

run by the *borrowing* interpreter, with the lending environment as argument.
Pip then counts PyTorch as installed and adds only the small packages it needs.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path

# The GPU libraries that PyTorch opens from beside itself.
BESIDE = ("triton", "nvidia-", "cuda-")


def lent(dist: Distribution) -> bool:
    name = str(dist.metadata["Name"]).lower().replace("_", "-")
    return name == "torch" or name.startswith(BESIDE)


def main(lender: str) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    source = Path(lender).resolve() / "lib" / version / "site-packages"
    target = Path(sysconfig.get_path("purelib"))
    if not (source / "torch").is_dir():
        sys.exit(f"{source} holds no torch: run `make install` first, with the same Python.")
    for dist in distributions(path=[str(source)]):
        if not lent(dist):
            continue
        tops = {file.parts[0] for file in dist.files or ()} - {"..", "__pycache__"}
        for top in sorted(tops):
            link = target / top
            if not link.exists() and not link.is_symlink():
                link.symlink_to(source / top)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
