"""How long the pages of the dashboard take with 200 recorded runs, and what its process weighs.

One quickstart with few epochs is recorded (or ``--run DIR`` is taken) and copied 200 times.  The
dashboard is started as ``hypeeg app`` does, once for each page, and spoken to as a browser speaks
to it: ``first`` is the time from asking for a page until all of it is sent, on a server that has
just started; ``again`` is the middle one of some repetitions.  With each goes the processor time
that the server took, which another program's load changes less.  The memory is that of one server
after all pages were visited, every one twice.

With ``--chromium FILE`` the time until a browser with an empty cache shows the page is measured
as well (needs playwright).

Run with ``python benchmarks/dashboard.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from hypeeg import dashboard

PAGES = (
    "home", "launch", "runs", "results", "compare", "embeddings", "data", "geometry_lab",
)  # fmt: skip
FIRST_LIMIT, AGAIN_LIMIT, MEMORY_LIMIT = 1.5, 0.3, 400
PATIENCE = 180.0
STATES = ("done", "done", "done", "cancelled", "failed")


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock, and seconds of processor that the server took."""

    wall: float
    cpu: float


class Server:
    """A dashboard and a visitor who is connected to it."""

    def __init__(self, runs: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = dashboard.command(self.port, browser=False)
        environment = {**os.environ, dashboard.RUNS_VARIABLE: str(runs)}
        self.process = psutil.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(f"{self.url}/_stcore/health")
        # What begins beside the server is over then.
        settle(self.process)
        self.entered = connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream",
            subprotocols=["streamlit"],
            max_size=None,
        )
        self.visitor: ClientConnection = self.entered.__enter__()

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        return f"http://127.0.0.1:{self.port}"

    def visit(self, page: str, query: str) -> Taken:
        """Ask for a page; wait until all of it has come.

        Raises
        ------
        RuntimeError
            If the page shows an exception.
        """
        request = BackMsg()
        request.rerun_script.page_name = "" if page == "home" else page
        request.rerun_script.query_string = query
        before, start = cpu_seconds(self.process), time.perf_counter()
        self.visitor.send(request.SerializeToString())
        n_elements = 0
        while True:
            message = ForwardMsg.FromString(self.visitor.recv(timeout=PATIENCE))
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                n_elements += 1
                if message.delta.new_element.WhichOneof("type") == "exception":
                    raise RuntimeError(f"{page}: {message.delta.new_element.exception.message}")
            if kind == "page_not_found":
                raise RuntimeError(f"{page}: there is no such page")
            # Another end means that the page asked to be drawn anew.
            if (
                kind == "script_finished"
                and message.script_finished == message.FINISHED_SUCCESSFULLY
            ):
                break
        wall = time.perf_counter() - start
        if not n_elements:
            raise RuntimeError(f"{page}: nothing was sent")
        return Taken(wall, cpu_seconds(self.process) - before)

    def memory(self) -> float:
        """Return the resident memory in MB."""
        return float(self.process.memory_info().rss) / 1e6

    def close(self) -> None:
        """End the server."""
        self.entered.__exit__(None, None, None)
        self.process.terminate()
        self.process.wait(timeout=30)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and of those it has waited for."""
    return float(sum(process.cpu_times()[:4]))


def settle(process: psutil.Process) -> None:
    """Wait until a process idles."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        before = cpu_seconds(process)
        time.sleep(0.3)
        if cpu_seconds(process) - before < 0.03:
            return


def wait_for(url: str) -> None:
    """Wait until an address answers."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def serving(runs: Path) -> Iterator[Server]:
    """Start a dashboard; end it afterwards."""
    server = Server(runs)
    try:
        yield server
    finally:
        server.close()


def record_quickstart(out: Path) -> Path:
    """Run the quickstart with few epochs."""
    command = [sys.executable, "-m", "hypeeg.cli", "run", "quickstart", "--out", str(out)]
    command += ["--set", "training.max_epochs=3"]
    subprocess.run(command, check=True, capture_output=True)
    return next(path.parent for path in out.glob("*/status.json"))


def copy_runs(source: Path, out: Path, n: int) -> None:
    """Copy a run, as if it had been started every hour; some did not end well."""
    status = json.loads((source / "status.json").read_text())
    newest = datetime.now(UTC)
    for number in range(n):
        began = newest - timedelta(hours=number + 1)
        folder = out / f"{status['name']}-{began:%Y%m%dT%H%M%SZ}"
        shutil.copytree(source, folder)
        changed = {"created": began.isoformat(), "state": STATES[number % len(STATES)]}
        (folder / "status.json").write_text(json.dumps({**status, **changed}))


def in_chromium(executable: str, url: str) -> float:
    """Return the seconds until a browser that never saw the dashboard shows a page whole."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        page.goto(url)
        page.locator("[data-testid=stMain] h1").first.wait_for(timeout=PATIENCE * 1000)
        seconds = time.perf_counter() - start
        browser.close()
    return seconds


def verdict(good: bool) -> str:
    """Return a word."""
    return "ok" if good else "TOO MUCH"


def main() -> None:
    """Print a table; exit 1 if a limit is passed (judged by processor time)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-runs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--run", type=Path, help="run folder to copy, instead of a new quickstart")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=PAGES)
    parser.add_argument("--chromium", help="browser to time as well")
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as text:
        source = arguments.run or record_quickstart(Path(text, "one"))
        runs = Path(text, "runs")
        copy_runs(source, runs, arguments.n_runs)
        query = f"run={quote(max(path.name for path in runs.iterdir()))}"
        busy = os.getloadavg()[0]
        print(f"{arguments.n_runs} runs; {busy:.1f} programs want {os.cpu_count()} processors")
        print(f"limits (by processor time): first {FIRST_LIMIT} s, again {AGAIN_LIMIT} s")
        print(f"{'page':<14}{'first, s':>10}{'(cpu)':>8}{'again, s':>10}{'(cpu)':>8}")
        for page in arguments.pages:
            with serving(runs) as server:
                first = server.visit(page, query)
                again = [server.visit(page, query) for _ in range(arguments.repeats)]
                wall = statistics.median(taken.wall for taken in again)
                cpu = statistics.median(taken.cpu for taken in again)
                fine = first.cpu <= FIRST_LIMIT and cpu <= AGAIN_LIMIT
                good &= fine
                line = f"{page:<14}{first.wall:>10.2f}{first.cpu:>8.2f}{wall:>10.3f}{cpu:>8.3f}"
                print(line + f"  {verdict(fine)}", flush=True)
        with serving(runs) as server:
            bare = server.memory()
            for page in (*arguments.pages, *arguments.pages):
                server.visit(page, query)
            memory = server.memory()
        fine = memory < MEMORY_LIMIT
        good &= fine
        print(f"memory: {memory:.0f} MB, {bare:.0f} MB before the first page  {verdict(fine)}")
        for page in arguments.pages if arguments.chromium else ():
            with serving(runs) as server:
                path = "" if page == "home" else page
                seconds = in_chromium(arguments.chromium, f"{server.url}/{path}?{query}")
                print(f"{page:<14}{seconds:>10.2f} s until Chromium shows it", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
