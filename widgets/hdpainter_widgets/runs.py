"""The address of `renewing_runner` before runners had a package; kept for notebooks that use it."""

from hdpainter_widgets.runner.restarting import renewing_runner

__all__ = ["renewing_runner"]
