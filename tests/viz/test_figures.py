"""Figures hold the data they claim to show."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("plotly", reason="figures need hypeeg[app]")

from hypeeg.viz import curvature_figure, disk_figure, scores_figure, sessions_figure
from hypeeg.viz.disk import lorentz_to_disk
from hypeeg.viz.embeddings import ring_distances
from hypeeg.viz.palette import MAX_CATEGORIES, style

X = np.random.default_rng(0).normal(size=(20, 2))
LABELS = ["left", "right"] * 10


def traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_disk_has_the_unit_circle_and_an_equal_aspect() -> None:
    figure = disk_figure(X, 1.3)
    (boundary,) = traces(figure, "boundary")
    np.testing.assert_allclose(np.hypot(boundary.x, boundary.y), 1.0)
    assert figure.layout.yaxis.scaleanchor == "x"
    assert figure.layout.yaxis.scaleratio == 1


def test_every_trial_is_drawn_once_where_it_belongs() -> None:
    hover = [f"fact {i}" for i in range(20)]
    figure = disk_figure(X, 1.3, LABELS, hover)
    left, right = traces(figure, "left")[0], traces(figure, "right")[0]
    assert [*left.customdata, *right.customdata] == [*range(0, 20, 2), *range(1, 20, 2)]
    expected = lorentz_to_disk(X, 1.3)
    np.testing.assert_allclose(np.stack([left.x, left.y], axis=1), expected[::2], atol=1e-12)
    assert list(right.text) == hover[1::2]
    assert left.marker.color != right.marker.color
    assert left.marker.symbol != right.marker.symbol


def test_rings_lie_at_the_distances_their_labels_name() -> None:
    c = 2.5
    figure = disk_figure(X, c)
    (rings,) = traces(figure, "rings")
    gaps = [i for i, value in enumerate(rings.x) if value is None]
    starts = [0, *(i + 1 for i in gaps[:-1])]
    radii = [math.hypot(rings.x[i], rings.y[i]) for i in starts]
    named = [float(note.text) for note in figure.layout.annotations]
    np.testing.assert_allclose(radii, np.tanh(math.sqrt(c) * np.array(named) / 2))


@pytest.mark.parametrize("reach", [1e-3, 0.1, 0.5, 1.04])
@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_rings_are_few_and_inside(reach: float, c: float) -> None:
    found = ring_distances(reach, c)
    assert 2 <= len(found) <= 5
    assert math.tanh(math.sqrt(c) * found[-1] / 2) <= min(reach, 0.97) + 1e-9


def test_small_embeddings_fill_the_figure_unless_the_whole_disk_is_asked_for() -> None:
    near = disk_figure(X * 0.01, 1.0)
    whole = disk_figure(X * 0.01, 1.0, fit=False)
    assert near.layout.xaxis.range[1] < 0.05
    assert whole.layout.xaxis.range[1] > 1.0
    assert disk_figure(X * 50, 1.0, fit=True).layout.xaxis.range[1] <= 1.04


def test_centre_and_geodesics_to_neighbours() -> None:
    figure = disk_figure(X, 1.0, LABELS, centre=4, marked=4, neighbours=[1, 2])
    (mark,) = traces(figure, "chosen trial")
    np.testing.assert_allclose([mark.x[0], mark.y[0]], 0.0, atol=1e-12)
    (lines,) = traces(figure, "nearest trials")
    assert sum(value is None for value in lines.x) == 2


def test_euclidean_twin_gets_a_plane_without_a_disk() -> None:
    figure = disk_figure(np.random.default_rng(1).normal(size=(9, 5)), None, ["a"] * 9)
    assert not traces(figure, "boundary")
    assert figure.layout.xaxis.visible
    assert len(traces(figure, "a")[0].x) == 9


def test_numbers_get_a_scale_and_too_many_categories_too() -> None:
    (trace,) = traces(disk_figure(X, 1.0, np.linspace(0, 1, 20), color_name="p"), "p")
    assert trace.marker.colorbar.title.text == "p"
    many = [str(i) for i in range(MAX_CATEGORIES + 1)]
    rows = np.ones((len(many), 2))
    (trace,) = traces(disk_figure(rows, 1.0, many, color_name="subject"), "subject")
    # Numbers are in the order of their size, not of their spelling.
    assert list(trace.marker.color) == list(range(len(many)))


def test_missing_colours_are_named() -> None:
    with pytest.raises(ValueError, match="color has 3 entries for 20 points"):
        disk_figure(X, 1.0, ["a", "b", "c"])


def test_styles_do_not_repeat_before_36() -> None:
    assert len({tuple(style(i).values()) for i in range(36)}) == 36


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = []
    for subject in (1, 2, 3):
        for fold in (0, 1):
            for pipeline, level in (("hyp", 0.8), ("csp", 0.6), ("twin", 0.7)):
                score = level + 0.1 * fold - (0.2 if (subject, pipeline) == (3, "hyp") else 0)
                rows.append((subject, "0", fold, 0, pipeline, score))
    return pd.DataFrame(rows, columns=["subject", "session", "fold", "seed", "pipeline", "score"])


def test_scores_are_means_of_folds_with_twins_side_by_side(scores: pd.DataFrame) -> None:
    figure = scores_figure(scores, 0.5, twins={"twin": "hyp"}, score_name="roc_auc")
    assert list(figure.layout.xaxis.ticktext) == ["hyp", "twin", "csp"]
    np.testing.assert_allclose(traces(figure, "hyp")[0].y, [0.85, 0.85, 0.65])
    assert figure.layout.shapes[0].y0 == 0.5
    assert figure.layout.annotations[0].text == "chance 0.50"
    (means,) = traces(figure, "mean ± std")
    np.testing.assert_allclose(means.y, [0.85 - 0.2 / 3, 0.75, 0.65])
    np.testing.assert_allclose(means.error_y.array[0], np.std([0.85, 0.85, 0.65], ddof=1))


@pytest.mark.parametrize("draw", [scores_figure, sessions_figure])
def test_pairs_join_the_same_session_of_both_twins(scores: pd.DataFrame, draw) -> None:
    figure = draw(scores, 0.5, twins={"twin": "hyp"})
    (better,) = traces(figure, "hyp higher (2)")
    (worse,) = traces(figure, "twin higher (1)")
    np.testing.assert_allclose([y for y in better.y if y is not None], [0.85, 0.75] * 2)
    np.testing.assert_allclose([y for y in worse.y if y is not None], [0.65, 0.75])
    assert better.line.color != worse.line.color


def test_no_chance_no_line_and_no_twin_no_pairs(scores: pd.DataFrame) -> None:
    figure = scores_figure(scores)
    assert not figure.layout.shapes
    assert {trace.name for trace in figure.data} == {"hyp", "csp", "twin", "mean ± std"}


def test_a_single_session_shows_its_folds(scores: pd.DataFrame) -> None:
    figure = scores_figure(scores[scores["subject"] == 1])
    assert figure.layout.meta["unit"] == "fold"
    np.testing.assert_allclose(traces(figure, "hyp")[0].y, [0.8, 0.9])


def test_a_twin_that_missed_a_session_is_not_paired_there(scores: pd.DataFrame) -> None:
    missing = scores[~((scores["subject"] == 2) & (scores["pipeline"] == "twin"))]
    figure = scores_figure(missing, twins={"twin": "hyp"})
    assert traces(figure, "hyp higher (1)")


def test_empty_scores_are_refused(scores: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="empty"):
        scores_figure(scores.head(0))


def test_curvature_figure_has_every_fit_and_the_median() -> None:
    history = pd.DataFrame(
        [
            ("hyp", subject, None, 0, 0, epoch, c * subject)
            for subject in (1, 2, 3)
            for epoch, c in ((1, 1.0), (2, 1.5))
        ],
        columns=["pipeline", "subject", "session", "fold", "seed", "epoch", "c"],
    )
    figure = curvature_figure(history)
    fits, median = figure.data
    assert [y for y in fits.y if y is not None] == [1.0, 1.5, 2.0, 3.0, 3.0, 4.5]
    assert list(median.y) == [2.0, 3.0]
    assert fits.text[0] == "subject 1, fold 0, seed 0"
    assert figure.layout.yaxis.type == "log"
    with pytest.raises(ValueError, match="no pipeline of this run"):
        curvature_figure(history.head(0))
