"""The Embeddings page beyond points: selection, signals, heads, epochs, the twin; no browser."""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"
N = 12
MakeRun = Callable[..., Path]


def open_page(run: Path, pipeline: str | None = None) -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    at.session_state["run"] = run.name
    at.switch_page("views/embeddings.py").run()
    assert not at.exception, at.exception
    if pipeline is not None:
        at.selectbox("pipeline").select(pipeline).run()
    return at


def texts(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def figure(at: AppTest) -> dict:
    return json.loads(at.get("plotly_chart")[0].proto.spec)


def numbers(values: Any) -> np.ndarray:
    """An array as Plotly writes it."""
    if isinstance(values, list):
        return np.array(values, dtype=float)
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])


def drawn(at: AppTest) -> set[str]:
    return {t.get("name", "") for t in figure(at)["data"]}


def everything(x: float = 1.5) -> dict[str, Any]:
    """A lasso around the half of the disk with x below, or above."""
    xs = [-2.0, 0.0, 0.0, -2.0] if x < 0 else [0.0, 2.0, 2.0, 0.0]
    lasso = {"x": xs, "y": [-2.0, -2.0, 2.0, 2.0]}
    return {"selection": {"points": [], "point_indices": [], "box": [], "lasso": [lasso]}}


@pytest.fixture
def with_heads(make_run: MakeRun) -> Path:
    """A run that kept prototypes of each network, and two epochs."""
    run = make_run("heads")
    path = run / "embeddings" / "Hyperbolic.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    n_networks = int(arrays["network"].max()) + 1
    prototypes = np.zeros((n_networks, 2, 6), dtype=np.float32)
    prototypes[:, 0, 0], prototypes[:, 1, 0] = 2.0, -2.0
    epochs = np.stack([0.1 * arrays["embedding"], 0.5 * arrays["embedding"]], axis=1)
    np.savez(
        path,
        **arrays,
        head_kind=np.array(["lorentz_prototypes"] * n_networks),
        head_weight=prototypes,
        head_bias=np.zeros((n_networks, 2), dtype=np.float32),
        head_temperature=np.ones(n_networks),
        epochs=np.array([0, 5]),
        epoch_embedding=epochs,
        epoch_curvature=np.ones(epochs.shape[:2], dtype=np.float32),
    )
    return run


def test_a_lasso_lists_trials_and_stays_when_the_picture_changes(make_run: MakeRun) -> None:
    at = open_page(make_run("lasso"))
    at.session_state["disk"] = everything(-1)
    at.run()
    assert not at.exception
    summary, table = at.dataframe[0].value, at.dataframe[1].value
    assert list(summary["Trials"]) == [len(table), N - len(table)]
    assert set(table["label"]) == {"left_hand"} or set(table["label"]) == {"right_hand"}
    marked = {
        t["name"]: len(numbers(t["selectedpoints"]))
        for t in figure(at)["data"]
        if "selectedpoints" in t
    }
    assert sum(marked.values()) == len(table)
    at.selectbox("colour").select("Confidence").run()
    assert len(at.dataframe[1].value) == len(table)
    assert f"Download {len(table)} trials" in at.get("download_button")[0].proto.label
    # A line around nothing takes it away.
    nothing = everything()
    nothing["selection"]["lasso"][0]["x"] = [5.0, 6.0, 6.0, 5.0]
    at.session_state["disk"] = nothing
    at.run()
    assert "Draw around points" in texts(at)


def test_prototypes_and_regions_are_those_of_the_head(with_heads: Path) -> None:
    at = open_page(with_heads)
    assert {"regions", "decision boundary", "prototypes"} <= drawn(at)
    assert "slice" in texts(at)
    hover = next(t for t in figure(at)["data"] if t["name"] == "left_hand")["text"][0]
    # By hand: the distance to the prototype of the predicted class.
    with np.load(with_heads / "embeddings" / "Hyperbolic.npz") as file:
        row = int(np.flatnonzero(file["y_true"] == "left_hand")[0])
        x, c = file["embedding"][row].astype(float), float(file["curvature"][0])
        sign = 2.0 if file["y_pred"][row] == "left_hand" else -2.0
    p = np.array([sign, 0, 0, 0, 0, 0])
    time = [np.sqrt(1 / c + v @ v) for v in (x, p)]
    distance = np.arccosh(c * (time[0] * time[1] - x @ p)) / np.sqrt(c)
    assert f"to prototype of {'left_hand' if sign > 0 else 'right_hand'} {distance:.3f}" in hover
    at.multiselect("draw").set_value(["Density"]).run()
    assert "regions" not in drawn(at)


def test_a_run_without_heads_says_so_and_offers_centroids(make_run: MakeRun) -> None:
    run = make_run("old")
    path = run / "embeddings" / "Hyperbolic.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "network"}
    np.savez(path, **arrays)
    at = open_page(run)
    assert at.multiselect("draw").options == ["Classes", "Density"]
    assert "kept no head" in texts(at)
    at.multiselect("draw").set_value(["Classes"]).run()
    assert "centroids" in drawn(at)


def test_the_slider_goes_through_training(with_heads: Path) -> None:
    at = open_page(with_heads)

    def reach() -> float:
        return max(
            np.abs(numbers(t["x"])).max()
            for t in figure(at)["data"]
            if t["name"].endswith("hand") and t["mode"] == "markers"
        )

    trained = reach()
    at.select_slider("epoch").set_value(0).run()
    assert not at.exception
    assert reach() < 0.5 * trained
    assert "regions" not in drawn(at)
    assert "axes are those of the trained network" in texts(at)


def test_the_twin_shows_the_same_trials(make_run: MakeRun) -> None:
    run = make_run("twins")
    # The made-up parts number the trials of each pipeline anew.
    with np.load(run / "embeddings" / "Hyperbolic.npz") as file:
        numbers_of = file["trial"]
    with np.load(run / "embeddings" / "Twin.npz") as file:
        arrays = {name: file[name] for name in file.files}
    order = np.random.default_rng(0).permutation(len(numbers_of))
    arrays["trial"] = numbers_of
    for name in ("embedding", "subject", "session", "fold", "trial", "y_true", "y_pred", "network"):
        arrays[name] = arrays[name][order]
    np.savez(run / "embeddings" / "Twin.npz", **arrays)
    at = open_page(run)
    at.session_state["disk"] = everything(-1)
    at.run()
    before = at.dataframe[1].value["trial"].tolist()
    at.button_group("space").set_value("Twin").run()
    assert not at.exception
    assert "boundary" not in drawn(at)
    assert "Euclidean network" in texts(at)
    assert at.dataframe[1].value["trial"].tolist() == before


def test_geodesics_run_between_chosen_trials(make_run: MakeRun) -> None:
    at = open_page(make_run("arcs"))
    at.selectbox("trial").select(2).run()
    at.multiselect("ends").set_value([5]).run()
    assert not at.exception
    arc = next(t for t in figure(at)["data"] if t["name"] == "geodesics")
    assert "distance" in arc["text"][0]


def test_what_is_drawn_comes_back_after_a_view_that_cannot_show_it(with_heads: Path) -> None:
    at = open_page(with_heads)
    at.multiselect("draw").set_value(["Regions", "Density"]).run()
    at.select_slider("epoch").set_value(0).run()
    assert at.multiselect("draw").value == ["Density"]
    at.multiselect("draw").set_value([]).run()
    at.select_slider("epoch").set_value("trained").run()
    assert not at.exception
    assert at.multiselect("draw").value == ["Regions"]
    assert "regions" in drawn(at)


def test_a_chosen_trial_is_not_another_trial_of_the_next_network(make_run: MakeRun) -> None:
    at = open_page(make_run("chosen"))
    at.selectbox("trial").select(2).run()
    at.multiselect("ends").set_value([5]).run()
    assert "chosen trial" in drawn(at)
    at.selectbox("network").select_index(1).run()
    assert not at.exception
    assert at.selectbox("trial").value is None
    assert "chosen trial" not in drawn(at)


def test_the_share_that_is_kept_is_that_of_the_epoch_shown(with_heads: Path) -> None:
    path = with_heads / "embeddings" / "Hyperbolic.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    # In the first epoch nothing lies in the plane that the trained network spans.
    arrays["epoch_embedding"][:, 0, 0] = 0.0
    np.savez(path, **arrays)
    at = open_page(with_heads)

    def kept() -> int:
        return int(texts(at).split("which keeps ")[1].split("%")[0])

    at.button_group("around").set_value("Origin").run()
    trained = kept()
    at.select_slider("epoch").set_value(0).run()
    assert kept() < trained - 10


def test_a_plane_offers_no_whole_disk(make_run: MakeRun) -> None:
    at = open_page(make_run("plane"))
    assert "Whole disk" in at.button_group("view").options
    at.selectbox("pipeline").select("Twin").run()
    assert "Euclidean network" in texts(at)
    with pytest.raises(KeyError):
        at.button_group("view")


@pytest.mark.parametrize("page", sorted((APP / "views").glob("*.py")), ids=lambda p: p.stem)
def test_pages_write_no_string_by_accident(page: Path) -> None:
    # Streamlit shows a bare string on the page: in a page, constants are explained by comments.
    bare = [
        node.lineno
        for node in ast.parse(page.read_text()).body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    assert not bare


def test_radius_and_certainty_are_put_into_words(make_run: MakeRun) -> None:
    at = open_page(make_run("radius"))
    at.button_group("below").set_value("Radius").run()
    assert not at.exception
    assert "Spearman's ρ" in texts(at)
    assert "not defined" in texts(at)  # every confidence of this made-up run is 0.7


def test_signals_are_read_on_demand_and_their_absence_is_explained(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import embedding_panels
    from hypeeg_app.signals import ProcessError

    asked: list[Any] = []

    def read(run: str, chosen: tuple, others: tuple, labels: tuple) -> Any:
        asked.append((chosen, others, labels))
        if len(asked) > 1:
            raise ProcessError("recording is missing: fetch it")
        rng = np.random.default_rng(0)
        return SimpleNamespace(
            names=("Fz", "Cz", "Pz", "C3"),
            counts=(len(chosen), len(others)),
            times=np.linspace(0, 1, 50),
            mean=rng.normal(size=(2, 4, 50)),
            error=np.ones((2, 4, 50)),
            frequencies=np.linspace(0, 60, 61),
            psd=rng.uniform(1, 2, size=(2, 4, 61)),
            points=np.array([[0, 0.5], [0, 0], [0, -0.5], [-0.4, 0]]),
            source="a template",
        )

    monkeypatch.setattr(embedding_panels, "read_signals", read)
    at = open_page(make_run("signals"))
    at.button_group("below").set_value("Signals").run()
    assert "Select points" in texts(at)
    at.session_state["disk"] = everything(-1)
    at.run()
    assert not asked
    at.button("read-signals").click().run()
    assert not at.exception
    chosen, others, labels = asked[0]
    assert len(chosen) + len(others) == len(labels) == N
    assert len(at.get("plotly_chart")) == 4
    assert at.selectbox("channel").value == "Cz"
    at.run()
    assert "recording is missing" in at.error[0].value


def test_polygons_boxes_and_clicks() -> None:
    from hypeeg_app.selection import clicked_row, inside_polygon, selected_rows

    points = np.array([[0.0, 0.0], [0.9, 0.9], [0.4, 0.1], [-1.0, 0.0]])
    # What lies in the corner that an L leaves open is not inside.
    corner = [[-0.5, -0.5], [2, -0.5], [2, 0.05], [0.2, 0.05], [0.2, 2], [-0.5, 2]]
    assert inside_polygon(points, np.array(corner)).tolist() == [True, False, False, False]
    square = np.array([[-0.1, -0.1], [0.5, -0.1], [0.5, 0.5], [-0.1, 0.5]])
    assert inside_polygon(points, square).tolist() == [True, False, True, False]
    box = {"selection": {"points": [], "box": [{"x": [1.0, 0.3], "y": [0.0, 1.0]}], "lasso": []}}
    rows = selected_rows(box, points)
    assert rows is not None
    assert rows.tolist() == [1, 2]
    click = {"selection": {"points": [{"customdata": [2]}, {"x": 1}], "box": [], "lasso": []}}
    assert selected_rows(click, points) is None
    assert clicked_row(click, 4) == 2
    assert clicked_row(click, 2) is None


def test_umap_is_hidden_with_words_where_it_is_absent(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import signals

    monkeypatch.setattr(signals.importlib.util, "find_spec", lambda name: None)
    at = open_page(make_run("plain"))
    space = at.button_group("space")
    assert list(space.options) == ["Disk", "Twin"]
    assert "not installed" in space.proto.help
