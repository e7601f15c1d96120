"""Trying to break out: names, addresses, links in the folder of runs, files that bite."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hypeeg.experiments import process, start
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import RecordError

from .conftest import write_run

APP = Path(__file__).resolve().parents[2] / "app"
SPEC = """\
name: tiny
dataset: {name: SimulatedMI, subjects: [1]}
pipelines: [{name: CSP, model: csp_lda}]
"""

MakeRun = Callable[..., Path]


def open_page(page: str, **address: str) -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    for key, value in address.items():
        at.query_params[key] = value
    at.switch_page(f"views/{page}.py").run()
    assert not at.exception, at.exception
    return at


def shown(at: AppTest) -> str:
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.error, at.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        "/etc/x",
        "~/x",
        "a/b",
        "a\\\\b",
        "a\\0b",
        "a\\n",
        "-rf",
        ".hidden",
        "",
        "x" * 300,
    ],
)
def test_names_of_runs_cannot_lead_anywhere(tmp_path: Path, name: str) -> None:
    from hypeeg_app.draft import of_text

    text = SPEC.replace("tiny", f'"{name}"')
    assert [p.path for p in of_text(text).problems] == ["name"]
    with pytest.raises(SpecError, match="name"):
        start.start_run(text, tmp_path / "runs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: 0x" + "f" * 8000, "integer of 8002 digits"),
        ("name: " + "9" * 8000, "integer of 8000 digits"),
        ("name: " + ":".join(["59"] * 9000), "an integer of"),
        ("{a: " * 30_000, "nested too deeply"),
        ("&a [*a]", "aliases written out"),
        ("!!python/object/new:os.system [touch FILE]", "not valid YAML"),
        ("name: !!python/object/apply:subprocess.check_call [[touch, FILE]]", "not valid YAML"),
        ("name: !!python/name:os.system", "not valid YAML"),
    ],
)
def test_run_files_that_bite_are_refused(tmp_path: Path, text: str, said: str) -> None:
    from hypeeg_app.draft import of_text

    canary = tmp_path / "canary"
    began = time.process_time()
    found = of_text(text.replace("FILE", str(canary)))
    assert time.process_time() - began < 5
    assert said in str(found.problems[0])
    assert not canary.exists()


def test_fifty_megabytes_are_refused_at_once() -> None:
    from hypeeg_app.draft import of_bytes

    content = b"name: x  # " + b"x" * 50_000_000
    began = time.process_time()
    assert "longer than 200 kB" in str(of_bytes(content).problems[0])
    assert time.process_time() - began < 1


def test_an_address_chooses_a_run(make_run: MakeRun) -> None:
    names = [make_run(name).name for name in ("first", "second")]
    for name in names:
        assert open_page("results", run=name).selectbox("run").value == name


@pytest.mark.parametrize("page", ["runs", "results", "embeddings"])
@pytest.mark.parametrize("asked", ["../outside", "/{outside}", "link", "no-such-run", "\0"])
def test_an_address_names_runs_of_the_folder_alone(
    make_run: MakeRun, runs: Path, page: str, asked: str
) -> None:
    inside = make_run("inside")
    outside = write_run(runs.parent / "elsewhere", "secret").rename(runs.parent / "outside")
    (runs / "link").symlink_to(outside)
    at = open_page(page, run=asked.replace("{outside}", str(outside)))
    assert at.selectbox("run").value == inside.name
    assert at.selectbox("run").options == [inside.name]
    assert "secret" not in shown(at)


@pytest.mark.parametrize("asked", ["../../etc/passwd", "/etc/passwd", "NoSuchData"])
def test_an_address_names_known_data_sets_alone(runs: Path, asked: str) -> None:
    at = open_page("data", dataset=asked)
    assert at.selectbox("dataset").value != asked
    assert asked not in shown(at)


def test_deleting_does_not_follow_links_in_a_run(make_run: MakeRun, tmp_path: Path) -> None:
    from hypeeg_app import actions

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    run = make_run("linked")
    (run / "models").symlink_to(outside)
    (run / "file").symlink_to(outside / "precious")
    assert actions.delete([run], run.parent) == ([run.name], [])
    assert not run.exists()
    assert (outside / "precious").read_text() == "x"


def test_going_on_writes_through_no_link(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import actions

    monkeypatch.setattr(process, "HYPEEG", (sys.executable, "-c", "print('written')"))
    precious = tmp_path / "precious"
    precious.write_text("x")
    run = make_run("linked", state="interrupted", finished=4)
    (run / actions.RESUME_LOG).symlink_to(precious)
    with pytest.raises(actions.ActionError, match="cannot be started"):
        actions.resume(run, run.parent)
    assert precious.read_text() == "x"


def test_starting_removes_nothing_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HYPEEG", (sys.executable, "-c", "pass"))
    monkeypatch.setattr(start, "KEPT", 1)
    other, runs = tmp_path / "other", tmp_path / "runs"
    for name in ("a", "b", "c"):
        (other / name).mkdir(parents=True)
        (other / name / "log.txt").touch()
    runs.mkdir()
    (runs / start.STARTS).symlink_to(other)
    with pytest.raises(RecordError, match="is a link; remove it"):
        start.start_run(SPEC, runs)
    assert sorted(path.name for path in other.iterdir()) == ["a", "b", "c"]
