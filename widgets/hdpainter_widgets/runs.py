"""Where `restarting_runner` was, as `renewing_runner`; kept for notebooks that import it here."""

from hdpainter_widgets.runner.restarting import restarting_runner

__all__ = ["renewing_runner", "restarting_runner"]

renewing_runner = restarting_runner
