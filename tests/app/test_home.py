"""The Home page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from hypeeg.experiments import start

APP = Path(__file__).resolve().parents[2] / "app"


def open_home() -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=60).run()
    assert not at.exception, at.exception
    return at


def words(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.info, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def test_home_is_the_first_page_and_says_how_to_begin(runs: Path) -> None:
    at = open_home()
    assert at.title[0].value == "hypeeg"
    assert "No runs yet" in words(at)
    assert at.button(key="home-quickstart").label == "Run the quickstart"


def test_home_shows_the_last_runs_and_opens_one(make_run: Callable[..., Path]) -> None:
    done = make_run("complete")
    make_run("going", state="running", finished=6)
    make_run("lost", state="interrupted", finished=4)
    at = open_home()
    text = words(at)
    assert "1 done, 1 going on, 1 ended early or with failures." in text
    assert "interrupted" in text
    assert "just now" in text
    at.button(key=f"home-open-{done.name}").click().run()
    assert not at.exception, at.exception
    assert at.title[0].value == "Results"
    assert at.session_state["run"] == done.name


def test_one_button_starts_the_quickstart(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def start_detached(arguments: list[str], log: Path) -> Any:
        run, file, option, out = arguments
        assert (run, option) == ("run", "--out")
        asked.append((Path(file).read_text(), Path(out)))
        return SimpleNamespace(pid=999_999_999)

    monkeypatch.setattr(start, "start_detached", start_detached)
    at = open_home()
    at.button(key="home-quickstart").click().run()
    assert not at.exception, at.exception
    [(text, out)] = asked
    assert "name: quickstart" in text
    assert out == runs.resolve()


def test_times_are_told_for_people() -> None:
    from hypeeg_app.home import ago

    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    told = [ago(now - timedelta(seconds=s), now) for s in (5, 65, 7200, 90_000)]
    assert told == ["just now", "1 minute ago", "2 hours ago", "1 day ago"]
    assert ago(None) == "at an unknown time"
