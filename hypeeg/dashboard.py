"""Start the dashboard: a Streamlit server on this machine, in a process of its own."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import ipaddress
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
UPLOAD_MB = 1
"""Largest upload; run files, the only ones that are uploaded, are far smaller."""

# What every page needs, or nearly so. Loaded before the server answers, its first page is quick.
_SHARED = ("pandas", "plotly.graph_objects", "plotly.io", "hypeeg.viz", "hypeeg.experiments.report",
           "hypeeg.experiments.estimate", "hypeeg.experiments.kinds", "hypeeg.experiments.library",
           "hypeeg.eeg.inventory")  # fmt: skip


class DashboardError(RuntimeError):
    """The dashboard cannot be started; the message says what to do."""


def launch(
    runs: Path, port: int | None = None, browser: bool = True, address: str = ADDRESS
) -> int:
    """Serve the dashboard until it is interrupted.

    Parameters
    ----------
    runs : Path
        Folder of the runs to show; it need not exist yet.
    port : int, optional
        Port; by default 8501, or the next free one.
    browser : bool
        Open a browser window.
    address : str
        Address to listen on. Whoever reaches it can start, cancel and delete runs: there is no
        password. The default is reached from this machine alone.

    Returns
    -------
    int
        Exit code of the server, 0 when it was interrupted by its user.

    Raises
    ------
    DashboardError
        If Streamlit or Plotly is not installed, the app's files are missing, `runs` is a file,
        or `port` or `address` is none.
    """
    arguments = command(port, browser, address)
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


def command(port: int | None = None, browser: bool = True, address: str = ADDRESS) -> list[str]:
    """Return the command line of the server; see :func:`launch`."""
    missing = [name for name in ("streamlit", "plotly") if not importlib.util.find_spec(name)]
    if missing:
        raise DashboardError(
            f"the dashboard needs {' and '.join(missing)}; install with: pip install 'hypeeg[app]'"
        )
    if port is not None and not 1 <= port <= 65535:
        raise DashboardError(f"port is {port}; give a number from 1 to 65535")
    is_loopback(address)
    arguments = [sys.executable, "-m", "hypeeg.dashboard", "run", str(app_file())]
    arguments += ["--server.address", address, "--browser.gatherUsageStats", "false"]
    arguments += ["--server.maxUploadSize", str(UPLOAD_MB), "--server.fileWatcherType", "none"]
    arguments += ["--server.headless", "false" if browser else "true"]
    if port is not None:
        arguments += ["--server.port", str(port)]
    return arguments


def is_loopback(address: str) -> bool:
    """Tell whether an address to listen on is reached from this machine alone.

    Raises
    ------
    DashboardError
        If it is no address.
    """
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError as error:
        raise DashboardError(
            f"address is {address!r}; give an IP address of this machine, such as {ADDRESS}, or "
            "0.0.0.0 for all of them"
        ) from error


def serve() -> None:
    """Be the server: Streamlit's own command line, with what every page needs loaded."""
    for name in _SHARED:
        importlib.import_module(name)
    # What is loaded stays: the collector need not walk through it while a page is made.
    gc.collect()
    gc.freeze()
    from streamlit.web.cli import main

    main(prog_name="streamlit")


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


if __name__ == "__main__":
    serve()
