"""The figures of a run's report, from the tables and arrays of its folder."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hypeeg.experiments.gather import read_embeddings, select_trials
from hypeeg.experiments.recorded import RecordedRun

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_SESSIONS = 60
"""Beyond it, one column a session is too narrow to be read."""

MAX_MATRICES = 12
MAX_DISKS = 8


@dataclass(frozen=True)
class Drawn:
    """A figure with its heading and what a reader must know; no figure, if only words are left."""

    section: str
    figure: go.Figure | None
    caption: str


def chance_level(scoring: str, n_classes: int) -> float | None:
    """Return what guessing scores on average with balanced classes, if that is known."""
    if scoring.startswith("roc_auc"):
        return 0.5
    if scoring in ("accuracy", "balanced_accuracy", "f1_macro"):
        return 1.0 / n_classes
    return -math.log(n_classes) if scoring == "neg_log_loss" else None


def safe(text: Any) -> str:
    """Escape a name for Plotly, which reads text as HTML too."""
    return html.escape(str(text), quote=False)


def _safe_table(table: pd.DataFrame) -> pd.DataFrame:
    """Escape the names in a table, each different one once."""
    names = [c for c in ("pipeline", "session", "y_true", "y_pred") if c in table]
    escaped = {}
    for column in names:
        unique = {value: safe(value) for value in table[column].dropna().unique()}
        escaped[column] = table[column].map(unique)
    return table.assign(**escaped)


def run_figures(run: RecordedRun, max_points: int) -> Iterator[Drawn]:
    """Draw what a run has found.

    Parameters
    ----------
    run : RecordedRun
        With scores.
    max_points : int
        Most trials drawn as points, over all its pipelines.

    Yields
    ------
    Drawn
        In the order of the report.
    """
    from hypeeg.viz import history_figure, reliability_figure

    yield from _scores(run)
    yield from _confusions(run)
    reliability = _safe_table(run.table("reliability"))
    if not reliability.empty:
        yield Drawn(
            "Reliability",
            reliability_figure(reliability),
            "Test trials binned by the probability of the predicted class, all seeds together. "
            "Below the dashed line a pipeline is more confident than it is right.",
        )
    curvature = _safe_table(run.table("curvature_history"))
    if not curvature.empty and "c" in curvature:
        yield Drawn(
            "Curvature during training",
            history_figure(curvature, ["c"], title="curvature magnitude c"),
            f"Median over {_fits(curvature)}, band from the 10th to the 90th percentile; the space "
            "has curvature −c.",
        )
    losses = _safe_table(run.table("history"))
    shown = [c for c in ("train_loss", "valid_loss") if c in losses]
    if shown and not losses[shown].isna().all().all():
        yield Drawn(
            "Loss during training",
            history_figure(losses, shown, title="loss"),
            f"Median over {_fits(losses)}, band from the 10th to the 90th percentile.",
        )
    yield from _pictures(run, max_points)


def _fits(history: pd.DataFrame) -> str:
    keys = ["pipeline", "subject", "session", "fold", "seed", "data_size", "permutation"]
    known = [key for key in keys if key in history]
    return f"{len(history[known].drop_duplicates())} fits"


def _scores(run: RecordedRun) -> Iterator[Drawn]:
    from hypeeg.viz import scores_figure, sessions_figure

    scores = _safe_table(run.scores)
    chance = chance_level(run.scoring, int(scores["n_classes"].max()))
    twins = {safe(twin): safe(of) for twin, of in run.twins.items()}
    options: dict[str, Any] = {"twins": twins, "score_name": safe(run.scoring)}
    figure = scores_figure(scores, chance, **options)
    unit = figure.layout.meta["unit"]
    yield Drawn(
        "Scores",
        figure,
        f"One dot is one {unit} of one subject, the mean of its folds and seeds; lines join a "
        f"{unit} of a network with that of its Euclidean twin."
        if unit == "session"
        else "One dot is one fold; lines join a fold of a network with that of its twin.",
    )
    n = len(scores.groupby(["subject", "session"]))
    if 1 < n <= MAX_SESSIONS:
        figure = sessions_figure(scores, chance, **options)
        yield Drawn("Scores by subject", figure, "One column is one session of one subject.")
    elif n > MAX_SESSIONS:
        words = f"{n} sessions are too many for a column each; their scores are in scores.csv."
        yield Drawn("Scores by subject", None, words)


def _confusions(run: RecordedRun) -> Iterator[Drawn]:
    from hypeeg.viz import confusion_figure

    table = _safe_table(run.table("confusion"))
    if table.empty:
        return
    groups = list(table.groupby("pipeline", sort=False))
    words = "Test trials of all folds and seeds, as shares of the true class."
    for number, (pipeline, own) in enumerate(groups[:MAX_MATRICES]):
        caption = "" if number else words
        yield Drawn("Confusion", confusion_figure(own, title=str(pipeline)), caption)
    if len(groups) > MAX_MATRICES:
        left = len(groups) - MAX_MATRICES
        yield Drawn("Confusion", None, f"{left} more pipelines are in confusion.csv.")


def _pictures(run: RecordedRun, max_points: int) -> Iterator[Drawn]:
    names = [p.name for p in run.pipelines if run.embeddings_path(p.name).is_file()]
    found = []
    for name in names:
        trials = read_embeddings(run.embeddings_path(name))
        points = trials.get("embedding", np.empty((0, 0)))
        if points.ndim == 2 and points.shape[1]:
            found.append((name, representative(trials, run.kind)))
    each = max(1, max_points // max(1, min(len(found), MAX_DISKS)))
    for name, (trials, network) in found[:MAX_DISKS]:
        yield _picture(name, trials, network, each)
    if len(found) > MAX_DISKS:
        left = len(found) - MAX_DISKS
        words = f"{left} more pipelines have embeddings; 'hypeeg app' shows them all."
        yield Drawn("Embeddings of test trials", None, words)


def representative(
    trials: Mapping[str, np.ndarray], kind: str
) -> tuple[dict[str, np.ndarray], str]:
    """Choose the test trials of one network: every fold has axes of its own.

    Parameters
    ----------
    trials : mapping of str to ndarray
        See :func:`hypeeg.experiments.gather.read_embeddings`.
    kind : str
        Evaluation; across sessions and subjects a network is tested on several sessions at once.

    Returns
    -------
    trials : dict of ndarray
        Those of the network whose accuracy is nearest to the median of all, the first if several
        are.
    network : str
        Which.
    """
    keys = ["subject", *(["session"] if kind == "within_session" else []), "fold", "seed"]
    keys += [key for key in ("data_size", "permutation") if key in trials]
    frame = pd.DataFrame({key: trials[key] for key in keys})
    right = pd.Series(trials["y_true"] == trials["y_pred"])
    number = frame.groupby(keys, sort=False, dropna=False).ngroup()
    accuracy = right.groupby(number).mean()
    nearest = accuracy.index[int((accuracy - accuracy.median()).abs().to_numpy().argmin())]
    here = (number == nearest).to_numpy()
    row = frame[here].iloc[0]
    chosen = select_trials(trials, here)
    return chosen, ", ".join(f"{key.replace('_', ' ')} {row[key]}" for key in keys)


def _picture(name: str, trials: dict[str, np.ndarray], network: str, most: int) -> Drawn:
    from hypeeg.viz import picture_figure, picture_of

    section = "Embeddings of test trials"
    finite = np.isfinite(trials["embedding"]).all(axis=1)
    chosen = np.flatnonzero(finite)
    if not len(chosen):
        return Drawn(section, None, f"{name}: no trial has a finite embedding.")
    words = f"{name}, network of {network} (its accuracy is the median of all folds)"
    if len(chosen) > most:
        # Evenly over the trials: nothing is drawn at random, so a report can be made again.
        kept = np.linspace(0, len(chosen) - 1, most).round().astype(int)
        words += f"; {most} of its {len(chosen)} test trials are drawn"
        chosen = chosen[kept]
    if not finite.all():
        words += f"; {int((~finite).sum())} trials without a finite embedding are left out"
    shown = select_trials(trials, chosen)
    picture = picture_of(shown["embedding"], shown["curvature"], "centroid")
    if picture.hyperbolic:
        space = f"Poincaré disk of curvature −{picture.c:.3g}" if picture.c else "Poincaré disk"
    else:
        space = "Euclidean plane"
    words += f". {space}, the centroid in the middle"
    if picture.reduced:
        pca = "tangent PCA" if picture.hyperbolic else "PCA"
        words += f"; {pca} of {picture.dimension} dimensions keeps {picture.kept:.0%}"
    rows = zip(shown["trial"], shown["y_true"], shown["y_pred"], strict=True)
    hover = [
        f"trial {trial}<br>{safe(true)}" + ("" if true == said else f" taken for {safe(said)}")
        for trial, true, said in rows
    ]
    labels = [safe(label) for label in shown["y_true"]]
    figure = picture_figure(picture, labels, hover, color_name="class", height=520)
    figure.update_layout(title={"text": safe(name), "font": {"size": 15}}, margin={"t": 70})
    return Drawn(section, figure, words + ".")
