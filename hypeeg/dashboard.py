"""Start the dashboard: a Streamlit server on this machine, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUNS_VARIABLE = "HYPEEG_RUNS"
ADDRESS = "127.0.0.1"


class DashboardError(RuntimeError):
    """The dashboard cannot be started; the message says what to do."""


def launch(runs: Path, port: int | None = None, browser: bool = True) -> int:
    """Serve the dashboard until it is interrupted.

    Parameters
    ----------
    runs : Path
        Folder of the runs to show; it need not exist yet.
    port : int, optional
        Port on 127.0.0.1; by default 8501, or the next free one.
    browser : bool
        Open a browser window.

    Returns
    -------
    int
        Exit code of the server, 0 when it was interrupted by its user.

    Raises
    ------
    DashboardError
        If Streamlit or Plotly is not installed, the app's files are missing, `runs` is a file,
        or `port` is none.
    """
    arguments = command(port, browser)
    folder = runs.expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise DashboardError(f"{folder} is a file; give the folder that holds the run folders")
    environment = {**os.environ, RUNS_VARIABLE: str(folder)}
    with _terminate_as_interrupt(), subprocess.Popen(arguments, env=environment) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            # A terminal interrupts the server as well; another sender may have told only us.
            server.terminate()
            server.wait()
            return 0


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let a request to terminate end the server too, instead of leaving it behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def command(port: int | None = None, browser: bool = True) -> list[str]:
    """Return the command line of the server; see :func:`launch`."""
    missing = [name for name in ("streamlit", "plotly") if not importlib.util.find_spec(name)]
    if missing:
        raise DashboardError(
            f"the dashboard needs {' and '.join(missing)}; install with: pip install 'hypeeg[app]'"
        )
    if port is not None and not 1 <= port <= 65535:
        raise DashboardError(f"port is {port}; give a number from 1 to 65535")
    arguments = [sys.executable, "-m", "streamlit", "run", str(app_file())]
    arguments += ["--server.address", ADDRESS, "--browser.gatherUsageStats", "false"]
    arguments += ["--server.headless", "false" if browser else "true"]
    if port is not None:
        arguments += ["--server.port", str(port)]
    return arguments


def app_file() -> Path:
    """Return the app's main script: in the package from a wheel, else in the repository.

    Raises
    ------
    DashboardError
        If neither exists.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_app", package.parent / "app"):
        # Another project's folder of the same name may lie beside an installed package.
        if (folder / "hypeeg_app").is_dir() and (folder / "main.py").is_file():
            return folder / "main.py"
    raise DashboardError("the files of the dashboard are missing; reinstall hypeeg")
