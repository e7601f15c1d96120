"""What keeps the scores of a run from meaning more than they do, in sentences."""

from __future__ import annotations

import math

import pandas as pd

from hypeeg.experiments.report import summarise, unit_scores
from hypeeg.vision.names import DATASETS as IMAGES


def cautions(scores: pd.DataFrame, scoring: str) -> list[str]:
    """Say what keeps these scores from meaning more than they do.

    Parameters
    ----------
    scores : DataFrame
        Scores table.
    scoring : str
        Name of the score.

    Returns
    -------
    list of str
        Sentences; empty for large data.
    """
    if scores.empty:
        return []
    if scoring == "map":
        return _cautions_of_taxonomy(scores)
    found = []
    table = summarise(scores)
    n_trials = int(table["n_trials"].max())
    n_classes = int(scores["n_classes"].max())
    chance = 1.0 / n_classes
    worst = math.sqrt(0.25 / n_trials)
    if n_trials < 500:
        found.append(
            f"{n_trials} different test trials: the standard error of an accuracy is up to "
            f"{worst:.3f}, so differences below about {2 * worst:.2f} mean little."
        )
    of_images = set(scores["dataset"]) <= set(IMAGES)
    if of_images:
        n_seeds = scores["seed"].nunique()
        spread = (
            f"the ± is over {n_seeds} seeds (draws and networks)"
            if n_seeds > 1
            else "one seed shows no spread; name several in evaluation.seeds"
        )
        found.append(f"One set of images, divided once: {spread}; it says nothing about others.")
    elif len(unit_scores(scores)) == 1:
        found.append(
            "One session of one subject: the ± is over folds that share training trials; it says "
            "nothing about other sessions or people."
        )
    if scores["seed"].nunique() > 1 and not of_images:
        by_seed = scores.groupby(["pipeline", "seed"], sort=False)["score"].mean()
        moving = [
            f"{name} {', '.join(f'{mean:.3f}' for mean in means)}"
            for name, means in by_seed.groupby(level="pipeline", sort=False)
            if means.max() - means.min() >= 5e-4
        ]
        if moving:
            found.append(
                f"By seed: {'; '.join(moving)}. A seed starts every fold alike, so no test over "
                "subjects or sessions alone speaks of other seeds."
            )
    also = " and for roc_auc" if scoring == "roc_auc" else ""
    found.append(f"Chance is {chance:.2f} for the accuracy of {n_classes} balanced classes{also}.")
    return found


def _cautions_of_taxonomy(scores: pd.DataFrame) -> list[str]:
    """Say what the scores of embeddings mean; see :func:`cautions`."""
    n_seeds, n_classes = scores["seed"].nunique(), int(scores["n_classes"].max())
    spread = (
        f"the ± is over {n_seeds} seeds (start, draws and, if pairs are held out, which)"
        if n_seeds > 1
        else "one seed shows no spread; name several in evaluation.seeds"
    )
    return [
        f"One taxonomy: {spread}; it says nothing about other taxonomies.",
        "Accuracy is the share of nodes whose nearest other node belongs to their branch; chance "
        f"is {1 / n_classes:.2f} for {n_classes} branches of one size.",
    ]
