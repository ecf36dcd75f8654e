"""Notebook servers of one test each: their own settings, port, folder and kernels."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import nbformat
import psutil

__all__ = ["APPS", "BROWSERS", "BROWSER_ARGS", "PATIENCE", "Server", "find_browser"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds; a busy machine takes its time
APPS = {"lab": "jupyterlab", "notebook": "notebook"}
_PAGES = {"lab": "lab/tree", "notebook": "notebooks"}

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Neither news nor new versions are asked for, and nobody offers a tour.
_DISABLED = (
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/extensionmanager-extension",
)
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def find_browser() -> str | None:
    """Where Chromium is, if it is."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Server:
    """A running JupyterLab ("lab") or Notebook 7 ("notebook"), serving `folder`.

    Args:
        app: a key of `APPS`.
        base: an empty folder; settings, sockets and the log go beside the notebooks' folder.
        environment: more variables for the server and its kernels.

    Raises:
        RuntimeError: it ended, or did not answer in time; the message holds its log.
    """

    def __init__(self, app: str, base: Path, environment: dict[str, str] | None = None) -> None:
        self.app = app
        self.folder = base / "notebooks"
        self.token = secrets.token_hex(16)
        self.log = base / "server.log"
        settings = base / "config"
        (settings / "labconfig").mkdir(parents=True)
        disabled = {"disabledExtensions": dict.fromkeys(_DISABLED, True)}
        (settings / "labconfig" / "page_config.json").write_text(json.dumps(disabled))
        self.folder.mkdir()
        # Sockets' names have a length limit that folders of tests come near.
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        source = os.pathsep.join((str(ROOT), str(ROOT / "widgets")))
        known = os.environ.get("PYTHONPATH")
        self.environment = {
            **os.environ,
            **_OFFLINE,
            "PYTHONPATH": f"{source}{os.pathsep}{known}" if known else source,
            "JUPYTER_CONFIG_DIR": str(settings),
            "JUPYTER_DATA_DIR": str(base / "data"),
            "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
            "IPYTHONDIR": str(base / "ipython"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            **(environment or {}),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", APPS[app], "--no-browser", "--allow-root"),
                    *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
                    f"--IdentityProvider.token={self.token}",
                    f"--ServerApp.root_dir={self.folder}",
                    "--ServerApp.terminals_enabled=False",
                    # Should the tests be killed, kernel and server end by themselves.
                    "--MappingKernelManager.cull_idle_timeout=900",
                    "--MappingKernelManager.cull_connected=True",
                    "--ServerApp.shutdown_no_activity_timeout=900",
                    "--LabApp.news_url=",
                    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                ],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def write(self, name: str, cells: Sequence[str]) -> str:
        """A notebook of code cells in the folder; gives the address to open it at."""
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        book = nbformat.v4.new_notebook(metadata=kernel)
        book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(book, self.folder / name)
        return self.page(name)

    def page(self, name: str) -> str:
        """The address that opens a notebook."""
        return f"{self.url}/{_PAGES[self.app]}/{name}?token={self.token}"

    def api(self, path: str, method: str = "GET", timeout: float = 10.0) -> bytes:
        """What the server answers under ``/api``."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        # Proxies that the environment may name know nothing of this machine's own ports.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout) as answer:
            return bytes(answer.read())

    def close(self) -> None:
        """End the server and every kernel that it started."""
        family: list[psutil.Process] = []
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.terminate()  # jupyter_server ends its kernels first
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                self.api("")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        log = self.log.read_text(errors="replace")[-4000:]
        raise RuntimeError(
            f"{APPS[self.app]} does not answer (ended: {self.process.poll()})\n{log}"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
