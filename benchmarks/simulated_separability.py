"""How hard the simulated data sets are: figures that their docstrings state.

Classical pipelines, leaving one subject out and five folds inside each session. For the data sets
with classes named after the leaves of a tree also the share of trials whose first letters are
right, and the share that a single wrong class gets at each distance in the tree.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

BANDS = ((8, 11), (11, 14), (14, 17), (17, 20), (20, 24), (24, 29))


class BandTangents(TransformerMixin, BaseEstimator):
    """Tangent spaces of the covariances (n, bands, channels, channels), side by side."""

    def fit(self, X: np.ndarray, y: Any = None) -> BandTangents:
        """Learn the mean of each band."""
        from pyriemann.tangentspace import TangentSpace

        self.spaces_ = [TangentSpace().fit(X[:, k]) for k in range(X.shape[1])]
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return vectors (n, bands x channels (channels + 1) / 2)."""
        return np.concatenate([s.transform(X[:, k]) for k, s in enumerate(self.spaces_)], 1)


def band_covariances(X: np.ndarray, sfreq: float) -> np.ndarray:
    """Return shrunk covariances of each band, (n, bands, channels, channels)."""
    from pyriemann.estimation import Covariances
    from scipy.signal import butter, sosfiltfilt

    found = []
    for band in BANDS:
        sos = butter(4, band, "bandpass", fs=sfreq, output="sos")
        found.append(Covariances("oas").transform(sosfiltfilt(sos, X, axis=-1)))
    return np.stack(found, 1)


def trees(seeds: Sequence[int]) -> None:
    """Print the figures of SimulatedHierarchy and SimulatedFlat."""
    from moabb.paradigms import MotorImagery
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from hypeeg.eeg.simulated_hierarchy import (
        LEAVES,
        SimulatedFlat,
        SimulatedHierarchy,
        tree_distance,
    )

    model = make_pipeline(BandTangents(), StandardScaler(), LogisticRegression(C=0.01))
    paradigm = MotorImagery(
        n_classes=len(LEAVES), events=list(LEAVES), fmin=6, fmax=32, tmin=0.5, tmax=3
    )
    at = {d: sum(tree_distance(LEAVES[0], leaf) == d for leaf in LEAVES) for d in (2, 4, 6, 8)}
    for kind in (SimulatedHierarchy, SimulatedFlat):
        for seed in seeds:
            data = kind(seed=seed)
            X, y, metadata = paradigm.get_data(data)
            matrices = band_covariances(X * 1e6, data.sfreq)
            subjects = metadata["subject"].to_numpy()
            told = cross_val_predict(model, matrices, y, groups=subjects, cv=LeaveOneGroupOut())
            by_subject = [(told == y)[subjects == s].mean() for s in np.unique(subjects)]
            letters = [np.mean([a[:k] == b[:k] for a, b in zip(told, y)]) for k in (1, 2, 3)]
            distance = np.array([tree_distance(a, b) for a, b in zip(told, y)])
            wrong = [(distance == d).mean() / n for d, n in at.items()]
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            groups = metadata.groupby(["subject", "session"]).indices.values()
            within = np.mean(
                [
                    (cross_val_predict(model, matrices[i], y[i], cv=folds) == y[i]).mean()
                    for i in groups
                ]
            )
            print(
                f"{kind.__name__}, seed {seed}: leave one subject out {np.mean(told == y):.2f} "
                f"({min(by_subject):.2f} to {max(by_subject):.2f}), first 1/2/3 letters "
                f"{letters[0]:.2f}/{letters[1]:.2f}/{letters[2]:.2f}, taken for one class at tree "
                f"distance 2/4/6/8 {'/'.join(f'{share:.3f}' for share in wrong)}; within session "
                f"{within:.2f}; chance {1 / len(LEAVES):.3f}",
                flush=True,
            )


def hands(seeds: Sequence[int]) -> None:
    """Print the figures of SimulatedMI."""
    from moabb.paradigms import LeftRightImagery
    from pyriemann.estimation import Covariances
    from pyriemann.spatialfilters import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    from hypeeg.eeg.simulated import SimulatedMI

    model = make_pipeline(Covariances("oas"), CSP(nfilter=6), LinearDiscriminantAnalysis())
    paradigm = LeftRightImagery(fmin=8, fmax=32, tmin=0.5, tmax=3)
    for seed in seeds:
        for depth in (0.75, 0.0):
            data = SimulatedMI(seed=seed, erd_depth=depth)
            X, y, metadata = paradigm.get_data(data)
            X, y = X * 1e6, (y == "right_hand").astype(int)
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            within = [
                cross_val_score(model, X[i], y[i], cv=folds, scoring="roc_auc").mean()
                for i in metadata.groupby(["subject", "session"]).indices.values()
            ]
            across = cross_val_score(
                model, X, y, groups=metadata["subject"], cv=LeaveOneGroupOut(), scoring="roc_auc"
            )
            print(
                f"SimulatedMI, seed {seed}, erd_depth {depth}: AUC within session "
                f"{np.mean(within):.2f} ({min(within):.2f} to {max(within):.2f}), leave one "
                f"subject out {across.mean():.2f} (lowest {across.min():.2f})",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    hands(chosen.seeds)
    trees(chosen.seeds)
