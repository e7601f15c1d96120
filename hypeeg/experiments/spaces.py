"""What learned spaces look like: hyperbolicity and radii of the embeddings of a run.

Every fit has a space of its own, so measures are taken fit by fit and their median is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

MAX_POINTS = 64
"""Test trials of a fit that hyperbolicity is measured on; time grows with the fourth power."""

MAX_FITS = 20
"""Fits of a pipeline it is measured on, spread evenly over those there are."""

MIN_POINTS = 4


@dataclass(frozen=True)
class Space:
    """Embeddings of one pipeline; medians over its fits, NaN where there is nothing to measure.

    Relative hyperbolicities are 2 delta / diameter, from 0 (a tree) to 1.  They depend on the
    number of points and dimensions, so each stands beside what the same number of points at the
    same distances from the origin gives if their directions are random.

    Attributes
    ----------
    dim : int
        Dimension of the embedding.
    delta_points : float
        Points a value is over.
    delta_rel : float
        In the learned geometry.
    delta_rel_flat : float
        Of the same points without curvature: Euclidean distances of their logarithms at the origin.
        Equal to `delta_rel` for Euclidean pipelines; the smaller `delta_rel` is beside it, the more
        the curvature does.
    delta_rel_random, delta_rel_random_flat : float
        The same two for random directions.
    curvature : float
        Mean c of the fits, NaN for Euclidean pipelines.
    radius, radius_95 : float
        Median and 95th percentile of sqrt(c) d(origin, x) over all trials, a length without unit.
        Below about 0.3 hyperbolic space is flat for all purposes: distances differ from Euclidean
        ones by about radius squared / 6.
    """

    dim: int = 0
    delta_points: float = math.nan
    delta_rel: float = math.nan
    delta_rel_flat: float = math.nan
    delta_rel_random: float = math.nan
    delta_rel_random_flat: float = math.nan
    curvature: float = math.nan
    radius: float = math.nan
    radius_95: float = math.nan


def fits(trials: Mapping[str, np.ndarray], kind: str) -> Iterator[np.ndarray]:
    """Yield the rows of the trials of each fit, in the order they were stored.

    Parameters
    ----------
    trials : mapping of str to ndarray
        See :func:`hypeeg.experiments.gather.read_embeddings`.
    kind : str
        Evaluation; within sessions every session has fits of its own.
    """
    keys = ["subject", "fold", "seed", "data_size", "permutation"]
    if kind == "within_session":
        keys.append("session")
    codes = [np.unique(trials[k], return_inverse=True)[1] for k in keys if k in trials]
    _, first, which = np.unique(
        np.stack([np.ravel(code) for code in codes]),
        axis=1,
        return_index=True,
        return_inverse=True,
    )
    which = np.ravel(which)
    for number in np.argsort(first):
        yield np.flatnonzero(which == number)


def describe_space(trials: Mapping[str, np.ndarray], kind: str) -> Space:
    """Measure the embeddings of a pipeline.

    Parameters
    ----------
    trials : mapping of str to ndarray
        Test trials with ``embedding`` (n, d), ``curvature`` (n,) and what says which fit they are
        of; see :func:`hypeeg.experiments.gather.read_embeddings`.
    kind : str
        Evaluation of the run.

    Returns
    -------
    Space
        Trials whose embedding is not finite are left out.
    """
    points = trials.get("embedding")
    if points is None or points.ndim != 2 or points.shape[1] == 0:
        return Space()
    points = np.asarray(points, dtype=float)
    c = np.asarray(trials["curvature"], dtype=float)
    finite = np.isfinite(points).all(axis=1)
    groups = [rows[finite[rows]] for rows in fits(trials, kind)]
    groups = [rows for rows in groups if len(rows)]
    if not groups:
        return Space(dim=points.shape[1])
    usable = [rows for rows in groups if len(rows) >= MIN_POINTS]
    chosen = np.unique(np.linspace(0, len(usable) - 1, min(MAX_FITS, len(usable))).round())
    measured = [_fit(points[usable[int(i)]], float(c[usable[int(i)][0]])) for i in chosen]
    columns = np.array(measured).T if measured else np.full((5, 1), math.nan)
    n_points, rel, rel_flat, random, random_flat = (_median(column) for column in columns)
    curvatures = np.array([c[rows[0]] for rows in groups])
    hyperbolic = np.isfinite(curvatures).all()
    radii = np.arcsinh(np.sqrt(c[finite]) * np.linalg.norm(points[finite], axis=1))
    return Space(
        dim=points.shape[1],
        delta_points=n_points,
        delta_rel=rel,
        delta_rel_flat=rel_flat,
        delta_rel_random=random,
        delta_rel_random_flat=random_flat,
        curvature=float(curvatures.mean()) if hyperbolic else math.nan,
        radius=float(np.median(radii)) if hyperbolic else math.nan,
        radius_95=float(np.quantile(radii, 0.95)) if hyperbolic else math.nan,
    )


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _fit(points: np.ndarray, c: float) -> tuple[float, float, float, float, float]:
    """Return the number of points of one fit and its four relative hyperbolicities."""
    import torch

    from hypeeg.geometry import lorentz

    rng = np.random.default_rng(0)
    if len(points) > MAX_POINTS:
        points = points[np.sort(rng.choice(len(points), MAX_POINTS, replace=False))]
    flat = not math.isfinite(c)
    x = torch.from_numpy(points)
    # Euclidean features have no origin of their own; their mean stands in for it.
    tangent = x - x.mean(0) if flat else lorentz.logmap0(x, c)
    noise = torch.from_numpy(rng.standard_normal(points.shape))
    random = tangent.norm(dim=1, keepdim=True) * noise / noise.norm(dim=1, keepdim=True)

    def curved(z: torch.Tensor) -> float:
        if flat:
            return _relative(torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist"))
        y = lorentz.expmap0(z, c)
        return _relative(lorentz.dist_pairwise(y, y, c))

    def straight(z: torch.Tensor) -> float:
        return _relative(torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist"))

    return len(points), curved(tangent), straight(tangent), curved(random), straight(random)


def _relative(distances: object) -> float:
    import torch

    from hypeeg.geometry.hyperbolicity import relative_delta

    assert isinstance(distances, torch.Tensor)
    distances.fill_diagonal_(0.0)
    return float(relative_delta(0.5 * (distances + distances.T)))
