"""The geometry lab, without a browser, against formulas written out here."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"

pytestmark = pytest.mark.usefixtures("runs")


def open_lesson(lesson: str = "Distances") -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=120)
    at.session_state["lesson"] = lesson
    at.switch_page("views/geometry_lab.py").run()
    assert not at.exception, at.exception
    return at


def figure(at: AppTest, number: int = 0) -> dict[str, Any]:
    return json.loads(at.get("plotly_chart")[number].proto.spec)


def point(drawn: dict[str, Any], name: str) -> np.ndarray:
    found = next(t for t in drawn["data"] if t["name"] == name)
    return np.array([_array(found["x"])[0], _array(found["y"])[0]])


def _array(values: Any) -> np.ndarray:
    if isinstance(values, dict):
        import base64

        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.asarray(values, dtype=float)


def metrics(at: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in at.metric}


def distance(a: float, b: float, angle: float, c: float) -> float:
    """The hyperbolic law of cosines, in its textbook form."""
    p, q = math.sqrt(c) * a, math.sqrt(c) * b
    cosh = math.cosh(p) * math.cosh(q) - math.sinh(p) * math.sinh(q) * math.cos(angle)
    return math.acosh(cosh) / math.sqrt(c)


@pytest.mark.parametrize("c", [0.05, 1.0, 8.0])
def test_distances_are_those_of_the_law_of_cosines(c: float) -> None:
    at = open_lesson()
    at.select_slider("c-distances").set_value(c).run()
    expected = distance(1.6, 2.0, math.radians(110), c)
    shown = metrics(at)
    assert float(shown["d(A, B)"]) == pytest.approx(expected, abs=6e-4)
    flat = math.sqrt(1.6**2 + 2.0**2 - 2 * 1.6 * 2.0 * math.cos(math.radians(110)))
    assert float(shown["in a flat space"]) == pytest.approx(flat, abs=6e-4)
    assert shown["of the way over O"] == f"{expected / 3.6:.0%}"
    # The disk is drawn in its own units: |u| = tanh(sqrt(c) r / 2).
    a = point(figure(at), "A")
    assert np.hypot(*a) == pytest.approx(math.tanh(math.sqrt(c) * 0.8))


def test_the_angles_of_a_triangle_and_its_area() -> None:
    at = open_lesson()
    d = distance(1.6, 2.0, math.radians(110), 1.0)

    def angle(opposite: float, p: float, q: float) -> float:
        return math.acos(
            (math.cosh(p) * math.cosh(q) - math.cosh(opposite)) / (math.sinh(p) * math.sinh(q))
        )

    total = math.radians(110) + angle(1.6, 2.0, d) + angle(2.0, 1.6, d)
    assert metrics(at)["angles of OAB"] == f"{math.degrees(total):.0f}°"
    words = " ".join(m.value for m in at.markdown)
    assert f"area **{math.pi - total:.2f}**" in words
    # A triangle without an area has no angles.
    at.slider("distance-A").set_value(0.0).run()
    assert metrics(at)["angles of OAB"] == "–"


def test_the_middle_is_as_far_from_both_ends() -> None:
    at = open_lesson()
    drawn = figure(at)
    a, b, m = (point(drawn, name) for name in "ABM")

    def from_disk(u: np.ndarray, v: np.ndarray) -> float:
        gap = np.sum((u - v) ** 2) / ((1 - u @ u) * (1 - v @ v))
        return math.acosh(1 + 2 * gap)

    half = distance(1.6, 2.0, math.radians(110), 1.0) / 2
    assert from_disk(a, m) == pytest.approx(half)
    assert from_disk(b, m) == pytest.approx(half)


def test_a_click_moves_the_chosen_point_and_the_slider_has_the_last_word() -> None:
    at = open_lesson()
    click = {"selection": {"points": [{"x": 0.0, "y": -0.5}], "point_indices": [3]}}
    at.button_group("moves-AB").set_value("B").run()
    at.session_state["lab-disk"] = click
    at.run()
    assert not at.exception
    # 2 artanh(0.5), to the slider's step.
    assert at.slider("distance-B").value == pytest.approx(1.1)
    assert at.slider("angle-B").value == 270
    assert at.slider("distance-A").value == pytest.approx(1.6)
    at.session_state["lab-disk"] = click
    at.slider("distance-B").set_value(0.4).run()
    assert at.slider("distance-B").value == pytest.approx(0.4)


def test_exp_lands_at_the_length_of_its_vector() -> None:
    at = open_lesson("Exp and log")
    at.slider("v-length").set_value(2.0).run()
    drawn = figure(at)
    x, tip = point(drawn, "X"), point(drawn, "exp(v)")
    gap = np.sum((x - tip) ** 2) / ((1 - x @ x) * (1 - tip @ tip))
    assert math.acosh(1 + 2 * gap) == pytest.approx(2.0)
    names = {t["name"] for t in drawn["data"]}
    assert {"circle around X", "v carried along"} <= names
    at.toggle("v-circle").set_value(False).run()
    at.toggle("v-carry").set_value(False).run()
    names = {t["name"] for t in figure(at)["data"]}
    assert not {"circle around X", "v carried along"} & names


def test_rescaling_follows_its_formula() -> None:
    at = open_lesson("Rescaling")
    at.select_slider("c-rescaling").set_value(2.0).run()
    at.slider("slope").set_value(4.0).run()
    cap = 0.9 * math.acosh(2000) / math.sqrt(2.0)
    expected = cap * math.tanh(12.0 * math.atanh(0.99) / (4.0 * cap))
    shown = metrics(at)
    assert float(shown["after rescaling"]) == pytest.approx(expected, abs=6e-4)
    assert float(shown["D max in float32"]) == pytest.approx(cap, abs=6e-3)


def test_the_three_moves_of_a_curvature_step() -> None:
    pytest.importorskip("torch")
    at = open_lesson("Optimiser")
    assert not at.error
    from hypeeg_app.optimiser import optimise, worker

    request = {
        "c": 1.0,
        "depth": 2,
        "lr": 0.05,
        "curvature_lr": 0.3,
        "steps": 40,
        "spread": 0.7,
        "gradient": "autograd",
    }
    reply = optimise(request)
    before, after = 1.0, reply["alone"]["none"]["c"][1]
    # Adam's first step of log c is its learning rate.
    assert abs(math.log(after)) == pytest.approx(0.3, rel=1e-6)
    start = np.array([0.0, 0.7, 0.7, 1.4, 1.4, 1.4, 1.4])
    np.testing.assert_allclose(reply["alone"]["exp"]["dist0"], [start, start], atol=1e-9)
    naive = np.arcsinh(math.sqrt(after) * np.sinh(start)) / math.sqrt(after)
    np.testing.assert_allclose(reply["alone"]["none"]["dist0"][1], naive, atol=1e-9)
    pairs = [np.array(d) for d in reply["alone"]["scale"]["between"]]
    np.testing.assert_allclose(pairs[1], pairs[0] * math.sqrt(before / after), rtol=1e-9)
    for run in reply["together"].values():
        assert len(run["c"]) == 41
        assert run["loss"][-1] < run["loss"][0]

    table = at.dataframe[0].value.set_index("Move")
    assert table.loc["exp", "Distances to O"] == "unchanged"
    assert table.loc["scale", "Distances of pairs"] == f"all × {math.sqrt(1 / after):.3f}"
    # Its drawing: in the unit disk the homothety moves nothing, the steps of the points do.
    at.slider("steps").set_value(0).run()
    drawn = figure(at)
    np.testing.assert_allclose(
        *(
            _array(next(t for t in drawn["data"] if t["name"] == n)["x"])
            for n in ("start", "after 0 steps")
        ),
        atol=1e-12,
    )
    # A request that cannot be met is told, and the process goes on.
    pid = worker().pid
    at.session_state["c-optimiser"] = 1.0
    from hypeeg_app.optimiser import WorkerError

    with pytest.raises(WorkerError, match="lr must"):
        optimise({**request, "lr": -1.0})
    assert worker().pid == pid


def test_the_tree_is_a_tree() -> None:
    from hypeeg_app.optimiser_worker import tree_distances

    depth_two = tree_distances(2)
    # 3 and 4 are children of 1; 5 of 2.
    assert depth_two[3][4] == 2
    assert depth_two[3][5] == 4
    assert depth_two[0] == [0, 1, 1, 2, 2, 2, 2]
    assert np.array_equal(depth_two, np.transpose(depth_two))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_optimiser_ends_with_its_parent() -> None:
    code = """
import sys, time
sys.path.insert(0, sys.argv[1])
from hypeeg_app import optimiser
worker = optimiser.Worker()
process = worker._running()
print(process.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(APP)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 60
    # Whoever adopts an orphan may be slow to bury it: dead is enough.
    while _alive(child):
        assert time.monotonic() < end, "the optimiser outlived its parent"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_process_that_dies_is_told_and_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from hypeeg_app import optimiser

    worker = optimiser.Worker()
    monkeypatch.setattr(optimiser, "WORKER", Path("/nowhere/worker.py"))
    with pytest.raises(optimiser.WorkerError, match="ended"):
        worker.ask({})
    monkeypatch.undo()
    try:
        pytest.importorskip("torch")
        with pytest.raises(optimiser.WorkerError, match="KeyError"):
            worker.ask({})
    finally:
        worker.close()


def test_the_lab_keeps_torch_out_of_the_app(runs: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(APP)!r})
from streamlit.testing.v1 import AppTest
at = AppTest.from_file({str(APP / "main.py")!r}, default_timeout=90)
at.switch_page("views/geometry_lab.py").run()
for lesson in ("Exp and log", "Rescaling", "Optimiser", "Distances"):
    at.button_group("lesson").set_value(lesson).run()
    assert not at.exception, at.exception
found = [name for name in ("torch", "mne", "moabb", "skorch") if name in sys.modules]
sys.exit(f"imported: {{found}}" if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
