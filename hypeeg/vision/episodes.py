"""Few-shot episodes on embeddings: classes that training never saw, from a few images of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hypeeg.geometry import lorentz
from hypeeg.vision.images import ImageDataError

# Episodes computed at a time: distances of a hundred fit into memory at any usual size.
_BLOCK = 100
_QUANTILE_95 = 1.96


@dataclass(frozen=True, eq=False)
class EpisodeScores:
    """Accuracy of each episode.

    Attributes
    ----------
    accuracies : ndarray, shape (n_episodes,)
        Share of each episode's queries that were given their class.
    n_queries : int
        Queries of one episode.
    """

    accuracies: np.ndarray
    n_queries: int

    @property
    def mean(self) -> float:
        """Mean over episodes."""
        return float(self.accuracies.mean())

    @property
    def ci95(self) -> float:
        """Half the width of the 95 % confidence interval of the mean."""
        spread = self.accuracies.std(ddof=1) if len(self.accuracies) > 1 else np.nan
        return float(_QUANTILE_95 * spread / np.sqrt(len(self.accuracies)))

    @property
    def n_correct(self) -> int:
        """Correct queries of all episodes together."""
        return int(np.rint(self.accuracies * self.n_queries).sum())


def few_shot_accuracy(
    embedding: np.ndarray,
    codes: np.ndarray,
    curvature: float | None,
    *,
    n_way: int = 5,
    k_shot: int = 1,
    n_query: int = 15,
    n_episodes: int = 600,
    seed: int = 0,
) -> EpisodeScores:
    """Classify queries by the nearest class mean of a few labelled images [1]_.

    An episode draws classes, and of each class labelled images and queries.  The mean of a class
    is the Lorentz centroid of its points and distances are geodesic; without curvature, both are
    Euclidean.

    Parameters
    ----------
    embedding : ndarray, shape (n_images, n)
        Space parts of points, or plain vectors.
    codes : ndarray, shape (n_images,), int
        Classes.
    curvature : float or None
        c of the points, None for plain vectors.
    n_way : int, default 5
        Classes of an episode.
    k_shot : int, default 1
        Labelled images of each.
    n_query : int, default 15
        Queries of each.
    n_episodes : int, default 600
    seed : int
        Seed of the draws: with the same classes, every embedding meets the same episodes.

    Returns
    -------
    EpisodeScores

    Raises
    ------
    ImageDataError
        If there are too few classes, or a class has too few images.

    References
    ----------
    .. [1] J. Snell, K. Swersky, R. Zemel: Prototypical networks for few-shot learning, NeurIPS
       2017.
    """
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    fewest = min(len(m) for m in members)
    if len(members) < n_way or fewest < k_shot + n_query:
        raise ImageDataError(
            f"episodes of {n_way} classes with {k_shot} + {n_query} images each are asked for, but "
            f"there are {len(members)} new classes with at least {fewest} images; lower n_way, "
            "k_shot or n_query, or raise novel_share"
        )
    rng = np.random.default_rng(seed)
    drawn = np.stack([_draw(members, n_way, k_shot + n_query, rng) for _ in range(n_episodes)])
    points = torch.from_numpy(np.asarray(embedding, dtype=np.float64))
    right = torch.arange(n_way).repeat_interleave(n_query)
    accuracies = []
    for start in range(0, n_episodes, _BLOCK):
        episode = points[torch.from_numpy(drawn[start : start + _BLOCK])]
        support, queries = episode[:, :, :k_shot], episode[:, :, k_shot:].flatten(1, 2)
        far = _distances(queries, _means(support, None, curvature), curvature)
        accuracies.append((far.argmin(dim=-1) == right).double().mean(dim=1))
    return EpisodeScores(torch.cat(accuracies).numpy(), n_way * n_query)


def nearest_mean(
    embedding: np.ndarray, codes: np.ndarray, curvature: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Classify each image by the nearest mean of all others, class by class.

    Parameters
    ----------
    embedding : ndarray, shape (n_images, n)
    codes : ndarray, shape (n_images,), int
        Classes ``0 ... n_classes - 1``, each of two images or more.
    curvature : float or None
        As in :func:`few_shot_accuracy`.

    Returns
    -------
    codes : ndarray, shape (n_images,), int64
        Class of the nearest mean; an image has no part in that of its own class.
    probabilities : ndarray, shape (n_images, n_classes), float64
        Softmax of minus the squared distances.
    """
    points = torch.from_numpy(np.asarray(embedding, dtype=np.float64))
    labels = torch.from_numpy(np.asarray(codes, dtype=np.int64))
    columns = []
    for code in range(int(labels.max()) + 1):
        own = torch.nonzero(labels == code).squeeze(1)
        column = _distances(points, _means(points[own], None, curvature)[None], curvature)[:, 0]
        others = 1 - torch.eye(len(own), dtype=points.dtype)
        left_out = _means(points[own].expand(len(own), -1, -1), others, curvature)
        column[own] = _distances(points[own][:, None], left_out[:, None], curvature)[:, 0, 0]
        columns.append(column)
    far = torch.stack(columns, dim=1)
    return far.argmin(dim=1).numpy(), torch.softmax(-far.square(), dim=1).numpy()


def _draw(
    members: list[np.ndarray], n_way: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    ways = rng.permutation(len(members))[:n_way]
    return np.stack([rng.permutation(members[way])[:count] for way in ways])


def _means(points: Tensor, weights: Tensor | None, curvature: float | None) -> Tensor:
    """Return means over the second last dimension."""
    if curvature is not None:
        return lorentz.centroid(points, curvature, weights)
    if weights is None:
        return points.mean(dim=-2)
    return (points * weights[..., None]).sum(dim=-2) / weights.sum(dim=-1, keepdim=True)


def _distances(x: Tensor, y: Tensor, curvature: float | None) -> Tensor:
    """Return the distances (..., n, m) of points (..., n, d) and (..., m, d)."""
    if curvature is None:
        return torch.cdist(x, y)
    return lorentz.dist(x.unsqueeze(-2), y.unsqueeze(-3), curvature)
