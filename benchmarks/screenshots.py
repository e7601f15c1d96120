"""Pictures of every page of the dashboard, as the README and the docs show them.

The dashboard is started on a folder of runs and looked at in Chromium (needs hypeeg[browser]);
the pictures are written with few colours, which keeps them small.

Run with ``python benchmarks/screenshots.py --runs runs --run NAME``.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypeeg import dashboard

# Page, name of the picture, theme, height of the window.
PICTURES = (
    ("", "home", "light", 860),
    ("launch", "launch", "light", 1000),
    ("runs", "runs", "light", 1000),
    ("results", "results", "light", 1150),
    ("compare", "compare", "light", 1000),
    ("embeddings", "embeddings", "light", 1150),
    ("embeddings", "embeddings_dark", "dark", 1150),
    ("data", "data", "light", 1000),
    ("geometry_lab", "geometry_lab", "light", 1000),
)
WIDTH = 1440
COLOURS = 192
LARGEST = 250_000
PATIENCE_MS = 240_000


@contextmanager
def serving(runs: Path) -> Iterator[str]:
    """Serve the dashboard; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, dashboard.RUNS_VARIABLE: str(runs.resolve())}
    command = dashboard.command(port, browser=False)
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + PATIENCE_MS / 1000
            while True:
                try:
                    with urllib.request.urlopen(f"{url}/_stcore/health"):
                        break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()


def settle(page: Any) -> None:
    """Wait until a page is drawn and its figures have come to rest."""
    page.locator("[data-testid=stMain] h1").first.wait_for()
    for _ in range(2):
        page.wait_for_timeout(1500)
        page.wait_for_function(
            "!document.querySelector('[data-testid=stStatusWidget]') &&"
            "!document.querySelector('[data-testid=stSkeleton]')"
        )
    if page.locator("[data-testid=stException]").count():
        raise RuntimeError(f"{page.url} shows an exception")


def keep_small(png: bytes, file: Path) -> int:
    """Write a picture with few colours; return its size."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, optimize=True)
    size = file.stat().st_size
    if size > LARGEST:
        raise RuntimeError(f"{file} has {size} bytes, more than {LARGEST}")
    return size


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--run", help="run that Results and Embeddings show")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="+", help="names of pictures")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    if arguments.run is None:
        # `make bench` calls every script; pictures are made when they are wanted.
        print("no pictures: name a run of --runs with --run")
        return
    if not (arguments.runs / arguments.run).is_dir():
        sys.exit(f"{arguments.runs / arguments.run}: there is no such run")
    from playwright.sync_api import sync_playwright

    with serving(arguments.runs) as url, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=arguments.chromium,
            args=["--no-sandbox", "--enable-unsafe-swiftshader"],
        )
        for path, name, theme, height in PICTURES:
            if arguments.only and name not in arguments.only:
                continue
            page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=theme)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{url}/{path}?run={quote(arguments.run)}")
            settle(page)
            size = keep_small(page.screenshot(), arguments.out / f"{name}.png")
            print(f"{name:<18}{size / 1000:>6.0f} kB", flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
