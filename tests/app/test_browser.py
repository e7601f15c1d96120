"""The dashboard end to end in a real browser: from an empty form to a downloaded report."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="driving a browser needs hypeeg[browser]"
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# Another program's load must not fail a test of what a page does.
PATIENCE_MS = 1000 * int(os.environ.get("HYPEEG_BROWSER_PATIENCE", "240"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(BROWSERS)}"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a dashboard without runs, as `hypeeg app` does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    runs = tmp_path_factory.mktemp("browser") / "runs"
    command = [sys.executable, "-m", "hypeeg.cli", "app", "--no-browser"]
    command += ["--runs", str(runs), "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + PATIENCE_MS / 1000
        while True:
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health"):
                    break
            except OSError:
                assert server.poll() is None, "the dashboard ended"
                assert time.monotonic() < end, "the dashboard does not answer"
                time.sleep(0.2)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=20)
        # Whatever a failing test left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=20)


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Any]:
    """Open an empty tab."""
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM,
            # The sandbox needs rights that containers lack; the pages are our own.
            args=["--no-sandbox", "--enable-unsafe-swiftshader"],
        )
        tab = browser.new_page(viewport={"width": 1440, "height": 1000})
        tab.set_default_timeout(PATIENCE_MS)
        yield tab
        browser.close()


def settle(page: Any) -> None:
    """Wait until the page is drawn and nothing is going on."""
    page.wait_for_timeout(700)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    assert page.locator("[data-testid=stException]").count() == 0, page.inner_text("main")


def visit(page: Any, title: str) -> None:
    """Go to a page by the menu."""
    page.locator("[data-testid=stSidebarNav]").get_by_role("link", name=title).click()
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
    settle(page)


def fill(page: Any, label: str, value: str) -> None:
    """Type into a field of the form."""
    page.locator(f"input[aria-label='{label}']").first.fill(value)
    page.keyboard.press("Enter")
    settle(page)


def lasso(page: Any) -> None:
    """Draw a line around the left half of the picture."""
    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    left, top = box["x"] + 6, box["y"] + 6
    right, bottom = box["x"] + box["width"] / 2, box["y"] + box["height"] - 6
    page.locator('.modebar-btn[data-val="lasso"]').first.click()
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()


def finished_folds(page: Any) -> int:
    """Return how many folds the page of a run that is going on counts; -1 if it does not."""
    found = re.search(r"Folds\s+(\d+) / \d+", page.inner_text("[data-testid=stMain]"))
    return int(found.group(1)) if found else -1


def test_from_the_form_to_the_report(url: str, page: Any, tmp_path: Path) -> None:
    page.goto(url)
    page.get_by_text("No runs yet").first.wait_for()

    visit(page, "Launch")
    fill(page, "Subjects", "1-9")
    page.get_by_text("SimulatedMI has no").first.wait_for()
    assert page.get_by_role("button", name="Start the run").is_disabled()
    fill(page, "Subjects", "1")
    page.locator(".st-key-launch-start button:enabled").wait_for()
    fill(page, "Max epochs", "4")
    page.get_by_role("button", name="Start the run").click()

    page.wait_for_url("**/runs**")
    seen: list[int] = []
    end = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < end and "done" not in page.inner_text("[data-testid=stSidebar]"):
        # The list draws itself anew between two looks.
        with contextlib.suppress(sync_api.Error):
            seen.append(finished_folds(page))
        page.wait_for_timeout(300)
    moved = sorted({n for n in seen if n >= 0})
    assert len(moved) >= 2, f"progress did not move: {moved}"

    visit(page, "Results")
    page.locator(".js-plotly-plot").first.wait_for()
    assert "HyperbolicEEGNet" in page.inner_text("[data-testid=stMain]")
    page.get_by_role("radio", name="Export").click()
    page.get_by_role("button", name="Make the report").click()
    with page.expect_download() as begun:
        page.get_by_role("button", name=re.compile(r"Download \(")).click()
    report = tmp_path / "report.html"
    begun.value.save_as(report)
    text = report.read_text(encoding="utf-8")
    assert begun.value.suggested_filename.endswith(".html")
    assert "HyperbolicEEGNet" in text
    assert text.rstrip().endswith("</html>")

    visit(page, "Embeddings")
    page.locator(".js-plotly-plot .nsewdrag").first.wait_for()
    page.wait_for_timeout(1500)
    page.locator(".scatterlayer .point").nth(3).click(force=True)
    page.get_by_role("heading", name=re.compile(r"Trial \d+")).wait_for()
    settle(page)
    lasso(page)
    button = page.get_by_role("button", name=re.compile(r"Download \d+ trials"))
    button.wait_for()
    with page.expect_download() as begun:
        button.click()
    table = tmp_path / "trials.csv"
    begun.value.save_as(table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert f"Download {len(rows)} trials" in button.inner_text()
    assert rows
    assert {"label", "prediction"} <= set(rows[0])


def test_the_address_of_a_run_brings_it_back(url: str, page: Any) -> None:
    visit(page, "Runs")
    settle(page)
    name = re.search(r"quickstart-\w+", page.inner_text("[data-testid=stMain]"))
    # Runs come from the test before; the table of runs is a canvas, the folder's path is text.
    assert name is not None
    page.goto("about:blank")
    page.goto(f"{url}/results?run={name.group()}")
    page.get_by_role("heading", name="Results", exact=True).wait_for()
    settle(page)
    # The choice is the value of an input, which is no text.
    assert name.group() in page.inner_html("[data-testid=stSidebar]")
